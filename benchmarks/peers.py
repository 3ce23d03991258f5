"""segwright beside its peers, side by side in one run: mmsegmentation, torchmetrics, plain torch.

The peers are installed into an environment of their own (``--env``) on the first call, which downloads about 400 MB;
the networks are made then, too. Both sides compute with the same weights, the same torch version and as many threads,
and take turns picture by picture. One thread is timed by processor time, more by wall time; the figures are medians.

    python benchmarks/peers.py [--only a b] [--threads 1 2] [--rounds 5] [--json FILE]
    python benchmarks/peers.py --only agreement --weights RUN --data DATA

a  Fast-SCNN, from a JPEG of 1024x2048 to a mask; mmsegmentation's ``inference_model`` writes nothing, ours a PNG
b  the same from the command on, in a fresh process
c  DeepLabv3-ResNet50 at stride 8, network and mask, 512x1024
d  the same of PSPNet-ResNet50, 512x1024, and of BiSeNet-ResNet18 and ICNet-ResNet50, 1024x2048
e  resize and argmax beside torch's; a confusion matrix beside mmsegmentation's metric and torchmetrics
f  what a machine installs that only predicts, and how long it takes from the command to a mask
g  Fast-SCNN on a CUDA GPU beside torch in float32
agreement  of fewer bits with float32, and the mIoU of both, on labelled pictures
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from peers.bench import Bench, Line, print_table
from peers.environments import base_environment, package_megabytes, peers_environment
from peers.networks import SYSTEMS, Files, scenes
from peers.pipe import Way

from segwright.data import load_data
from segwright.evaluation import evaluate
from segwright.inference import Predictor
from segwright.runtime import read_image
from segwright.runtime.machine import available_cpus, cache_folder, cpu_name

ROWS = ("a", "b", "c", "d", "e", "f", "g", "agreement")
SIZE = (1024, 2048)
MMSEG, TORCH = "mmsegmentation", "mmsegmentation's network, torch fp32"
OURS: dict[str, tuple[str, str, str]] = {
    "ours, torch fp32": ("model", "torch", "fp32"),
    "ours, torch fp32, rewritten": ("model", "rewritten", "fp32"),
    "ours, torch compiled fp32": ("model", "compiled", "fp32"),
    "ours, torch bf16, rewritten": ("model", "rewritten", "bf16"),
    "ours, ONNX Runtime fp32": ("onnx", "onnx", "fp32"),
    "ours, OpenVINO fp32": ("openvino", "openvino", "fp32"),
    "ours, OpenVINO bf16": ("openvino", "openvino", "bf16"),
    "ours, OpenVINO bf16, rewritten": ("bf16", "openvino", "bf16"),
    "ours, OpenVINO int8": ("int8", "openvino", "int8"),
}
"""Way -> (which of :class:`Files`, runtime, precision)."""


def our_ways(files: Files, names: Sequence[str], maker: str, **more: Any) -> dict[str, Way]:
    """Ways of :data:`OURS` by their ends of names."""
    chosen = {f"ours, {name}": OURS[f"ours, {name}"] for name in names}
    return {
        name: Way(
            "ours",
            maker,
            {
                "model": str(getattr(files, file)), "picture": str(files.picture), "runtime": runtime,
                "precision": precision, **more,
            },
        )
        for name, (file, runtime, precision) in chosen.items()
    }  # fmt: skip


def row_a(bench: Bench, compiled: bool) -> None:
    files, system = bench.files("Fast-SCNN"), SYSTEMS["Fast-SCNN"]
    theirs = {"config": system.config, "checkpoint": str(files.checkpoint), "picture": str(files.picture)}
    names = [
        "torch fp32",
        "torch fp32, rewritten",
        "torch bf16, rewritten",
        "ONNX Runtime fp32",
        "OpenVINO fp32",
        "OpenVINO bf16",
        "OpenVINO int8",
    ]
    names += ["torch compiled fp32"] if compiled else []
    ways = {MMSEG: Way("peers", "file_to_mask", theirs)}
    with tempfile.TemporaryDirectory() as folder:
        ways |= our_ways(files, names, "file_to_file", mask=str(Path(folder, "mask.png")))
        bench.compare("a", "Fast-SCNN, JPEG 1024x2048 to mask", ways, bench.rounds, "Fast-SCNN")
    bench.show_distance("Fast-SCNN", files)


def row_b(bench: Bench) -> None:
    files, config = bench.files("Fast-SCNN"), SYSTEMS["Fast-SCNN"].config
    segwright = [str(Path(sys.executable).with_name("segwright")), "predict"]
    mmseg = [str(peers_environment(bench.env)), "-m", "peers.mmseg_predict", config, str(files.checkpoint)]
    with tempfile.TemporaryDirectory() as folder:
        end = [str(files.picture), "--out", folder]
        ways = {f"{MMSEG}, command": [*mmseg, str(files.picture)]}
        for name, file in (("torch", files.model), ("onnx", files.onnx), ("openvino bf16", files.bf16)):
            ways[f"segwright predict, {name}"] = [*segwright, str(file), *end]
        bench.commands("b", "Fast-SCNN, command to mask, 1024x2048", ways, bench.few)


def network_row(bench: Bench, row: str, system: str, names: Sequence[str]) -> None:
    """Network and mask: theirs from normalised images, ours from the decoded picture."""
    files, size = bench.files(system), SYSTEMS[system].size
    theirs = {"config": SYSTEMS[system].config, "checkpoint": str(files.checkpoint), "images": str(files.images)}
    ways = {TORCH: Way("peers", "images_to_mask", theirs), **our_ways(files, names, "pixels_to_mask")}
    bench.compare(row, f"{system}, {size[0]}x{size[1]}, network and mask", ways, bench.few, system)
    bench.show_distance(system, files)


def row_c(bench: Bench) -> None:
    names = ("torch fp32, rewritten", "torch bf16, rewritten", "OpenVINO bf16", "OpenVINO bf16, rewritten")
    names += ("OpenVINO int8",)
    network_row(bench, "c", "DeepLabv3-ResNet50", names)


def row_d(bench: Bench) -> None:
    names = ("torch fp32, rewritten", "torch bf16, rewritten", "ONNX Runtime fp32", "OpenVINO fp32")
    names += ("OpenVINO bf16", "OpenVINO int8")
    for system in ("PSPNet-ResNet50", "BiSeNet-ResNet18", "ICNet-ResNet50"):
        network_row(bench, "d", system, names)


def row_e(bench: Bench) -> None:
    def ours(way: str) -> Way:
        return Way("ours", "logits_to_mask", {"way": way, "size": SIZE})

    ways = {"torch": ours("torch"), "ours": ours("ours, compiled"), "ours, NumPy alone": ours("ours, NumPy")}
    ways["ours, channels last"] = ours("ours, compiled, channels last")
    bench.compare("e", "resize and argmax, 19x128x256 to 1024x2048", ways, bench.rounds)
    with tempfile.TemporaryDirectory() as folder:
        masks = pair_of_masks(Path(folder))
        for name, maker in (("mmsegmentation's IoUMetric", "iou_metric"), ("torchmetrics", "torchmetrics_confusion")):
            theirs = Way("peers", maker, {**masks, "num_classes": 19})
            ways = {name: theirs} | {
                way: Way("ours", "confusion", {**masks, "way": kind, "as_areas": maker == "iou_metric"})
                for way, kind in (("ours", "ours, compiled"), ("ours, NumPy alone", "ours, NumPy"))
            }
            bench.compare("e", "counts of a pair of masks, 1024x2048", ways, bench.rounds)


def pair_of_masks(folder: Path) -> dict[str, str]:
    """A prediction and a truth that differ by a shift, with a band to ignore."""
    from resize_argmax import smooth

    from segwright.runtime import resize_argmax

    predicted = resize_argmax(smooth(19, (SIZE[0] // 8, SIZE[1] // 8)), SIZE).mask.astype(np.uint8)
    truth = np.roll(predicted, (2, 5), axis=(0, 1))
    truth[-64:] = 255
    files = {name: str(folder / f"{name}.npy") for name in ("predicted", "truth")}
    for name, mask in (("predicted", predicted), ("truth", truth)):
        np.save(files[name], mask)
    return files


def row_f(bench: Bench) -> None:
    plain = base_environment(bench.env.with_name("plain"))
    python, files = base_environment(bench.env.with_name("base"), "onnx"), bench.files("Fast-SCNN")
    print()
    for name, environment in (("segwright", plain), ("segwright[onnx]", python)):
        sizes = package_megabytes(environment)
        largest = ", ".join(f"{part} {size:.0f}" for part, size in list(sizes.items())[:8])
        print(f"f: {name} takes {sum(sizes.values()):.0f} MB in site-packages ({largest})")
    with tempfile.TemporaryDirectory() as folder:
        words = ["predict", str(files.onnx), str(files.picture), "--out", folder]
        interpreters = {"all extras": Path(sys.executable), "segwright[onnx] alone": python}
        ways = {f"ours, {name}": [str(found.with_name("segwright")), *words] for name, found in interpreters.items()}
        bench.commands("f", "Fast-SCNN, command to mask, ONNX Runtime", ways, bench.rounds)


def row_g(bench: Bench) -> None:
    import torch

    if not torch.cuda.is_available():
        print("\ng: no CUDA GPU here")
        return
    files = bench.files("Fast-SCNN")
    ways = {"torch eager fp32 on the GPU": Way("ours", "eager_on_gpu", {"model": files.model, "images": files.images})}
    for runtime, precision in (("torch", "fp32"), ("compiled", "fp32"), ("compiled", "bf16"), ("compiled", "fp16")):
        arguments = {"model": files.model, "picture": files.picture, "device": "cuda"}
        arguments |= {"runtime": runtime, "precision": precision}
        ways[f"ours, {runtime} {precision}"] = Way("ours", "pixels_to_mask", arguments)
    bench.compare("g", "Fast-SCNN on a GPU, 1024x2048, network and mask", ways, bench.rounds)


def row_agreement(bench: Bench, weights: Path | None, data: Path | None) -> None:
    """Of fewer bits with float32, and the mIoU of each, on the test split; int8 is calibrated on the train split."""
    from segwright.deploy.export import export

    data, model = data or scenes(bench.work), weights or bench.work / "mmseg__fast_scnn" / "run"
    pairs = load_data(data).pairs("test")
    print(f"\nagreement of {model} with float32 and mIoU, {data}, test split", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = {"fp32": Path(folder, "model.xml"), "int8": Path(folder, "model-int8.xml")}
        export(model, files["fp32"], format="openvino")
        export(model, files["int8"], format="openvino", precision="int8", calibrate=data, max_drop=1)
        exact, pictures = Predictor(model, "cpu", "torch", "fp32"), [read_image(pair.image) for pair in pairs[::8]]
        masks = [exact(picture).mask for picture in pictures]
        ways = [(model, "torch", "fp32"), (model, "torch", "bf16"), (files["fp32"], "openvino", "fp32")]
        ways += [(files["fp32"], "openvino", "bf16"), (files["int8"], "openvino", "int8")]
        for file, runtime, precision in ways:
            fast = Predictor(file, "cpu", runtime, precision)
            same = [(fast(picture).mask == mask).mean() for picture, mask in zip(pictures, masks, strict=True)]
            miou = evaluate(file, data, split="test", device="cpu", runtime=runtime, precision=precision).miou
            print(
                f"{runtime} {precision}: {100 * np.mean(same):.3f} % of the pixels, mIoU {100 * miou:.2f} %", flush=True
            )


def write_json(path: Path | None, lines: Sequence[Line]) -> None:
    """What has been found so far, where it was asked for."""
    if path:
        found = {"cpu": cpu_name(), "cpus": available_cpus(), "lines": [asdict(line) for line in lines]}
        path.write_text(json.dumps(found, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=5, help="rows c and d and commands take half as many")
    parser.add_argument("--env", type=Path, default=cache_folder("peers") / "env", help="of the peers")
    parser.add_argument("--work", type=Path, default=cache_folder("peers") / "networks", help="for the networks' files")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes minutes")
    parser.add_argument("--weights", type=Path, help="trained model for the agreement; default: trained here")
    parser.add_argument("--data", type=Path, help="its data set with a test split; default: drawn scenes")
    parser.add_argument("--json", type=Path, help="write the table there as well")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    for threads in options.threads:
        bench = Bench(threads, options.rounds, options.work.resolve(), options.env.resolve(), lines)
        rows: dict[str, Callable[[], None]] = {
            "a": lambda bench=bench: row_a(bench, not options.no_compile),
            "b": lambda bench=bench: row_b(bench), "c": lambda bench=bench: row_c(bench),
            "d": lambda bench=bench: row_d(bench), "e": lambda bench=bench: row_e(bench),
            "f": lambda bench=bench: row_f(bench), "g": lambda bench=bench: row_g(bench),
            "agreement": lambda bench=bench: row_agreement(bench, options.weights, options.data),
        }  # fmt: skip
        for row in options.only:
            if row != "agreement" or threads == options.threads[0]:
                rows[row]()
                write_json(options.json, lines)
        bench.close()
    if lines:
        print_table(lines)


if __name__ == "__main__":
    main()
