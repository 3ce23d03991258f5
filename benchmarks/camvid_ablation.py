"""What each part of the CamVid recipe brings, judged on a sequence held out of the training split, never on test.

The 101 frames of sequence 0006R0 serve as validation and the other 266 training frames as training data; each variant
trains for the same number of steps with the same seed.
The table "distillation" alone trains on all of train and is judged on the validation split.
Run: python benchmarks/camvid_ablation.py CAMVID --out runs/ablation
"""

import argparse
import itertools
from pathlib import Path

import yaml

from segwright.data import load_data
from segwright.engine import train

RECIPE = Path(__file__).parents[1] / "recipes" / "fast_scnn_camvid.yaml"
HELD_OUT = "0006R0"
SGD = {"train.optimizer": "sgd", "train.lr": 0.045, "train.weight_decay": 4e-5, "train.no_decay": ["depthwise"]}
VARIANTS: dict[str, dict[str, object]] = {
    "SGD 0.045 (the paper's), plain cross-entropy": {**SGD, "loss.class_weights": "none"},
    "SGD 0.045, class weights": SGD,
    "AdamW 0.003, plain cross-entropy": {"loss.class_weights": "none"},
    "AdamW 0.003, class weights (the recipe)": {},
    "the recipe with OHEM": {"loss.name": "ohem_cross_entropy"},
}
PLAIN = {"loss.class_weights": "none"}
LARGE = {**PLAIN, "data.short_side": 720}
MEASURES: dict[str, dict[str, object]] = {
    "plain": PLAIN,
    "pictures enlarged to a short side of 720": LARGE,
    "and rare-class crops": {**LARGE, "data.rare_class_crops": 0.5},
    "and ClassMix": {**LARGE, "data.classmix": 0.5},
    "and CutMix": {**LARGE, "data.cutmix": 0.5},
    "and Dice": {**LARGE, "loss.dice": 0.5},
    "and label smoothing": {**LARGE, "loss.label_smoothing": 0.05},
    "and stronger colours": {**LARGE, "data.brightness": 0.5, "data.contrast": 0.5, "data.saturation": 0.5},
}
"""One by one on top of enlarged pictures."""
BOTH = {**PLAIN, "data.rare_class_crops": 0.5, "loss.dice": 0.5}
HOUSE: dict[str, dict[str, object]] = {
    "SGD 0.045 (the paper's), cross-entropy": {**SGD, **PLAIN},
    "AdamW 0.003, cross-entropy": PLAIN,
    "and rare-class crops and Dice (the house recipe)": BOTH,
    "and OHEM": {**BOTH, "loss.name": "ohem_cross_entropy"},
}
"""From the paper's recipe to ours, step by step."""
DISTILLATION: dict[str, dict[str, object]] = {
    "enlarged pictures, rare-class crops and Dice": {**LARGE, **BOTH},
    "and camvid/fast_scnn as teacher": {**LARGE, **BOTH, "model.teacher": "camvid/fast_scnn"},
}
"""The teacher has been trained on the held-out sequence too, so that these are judged on CamVid's validation split."""
TABLES = {"recipe": VARIANTS, "measures": MEASURES, "house": HOUSE, "distillation": DISTILLATION}


def hold_out(camvid: Path, folder: Path) -> Path:
    """A data set of links: one sequence of the training split as val, the others as train."""
    data = load_data(camvid)
    for pair in data.pairs("train"):
        split = "val" if pair.image.stem.startswith(HELD_OUT) else "train"
        for kind, path in (("images", pair.image), ("masks", pair.mask)):
            link = folder / kind / split / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.resolve())
    splits = {split: {"images": f"images/{split}", "masks": f"masks/{split}"} for split in ("train", "val")}
    content = {**splits, "classes": dict(enumerate(data.classes)), "ignore": list(data.labels.ignore)}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--iters", type=int, default=500)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", choices=TABLES, default="recipe", help="which rows to train")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the rows, from 1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    is_judged_on_val = options.table == "distillation"
    data = options.camvid if is_judged_on_val else hold_out(options.camvid, options.out / "data")
    variants = TABLES[options.table]
    for seed, (number, (name, settings)) in itertools.product(options.seeds, enumerate(variants.items(), start=1)):
        if options.only and number not in options.only:
            continue
        common = {"train.eval_every": options.iters, "train.threads": options.threads, "data.check": True}
        run = train(
            data,
            out=options.out / f"{options.table}-{number}-{seed}",
            recipe=RECIPE,
            iters=options.iters,
            seed=seed,
            settings={**common, **settings},
        )
        print(f"{name:<46} seed {seed}  mIoU {100 * run.scores.miou:6.2f}", flush=True)


if __name__ == "__main__":
    main()
