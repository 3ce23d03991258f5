"""segwright evaluate."""

from typing import TYPE_CHECKING, Annotated

import typer

from segwright.cli.console import percent, print_json, print_table, progress, say_next
from segwright.cli.data import read_data
from segwright.cli.options import DataArgument, Device, Flip, Json, ModelArgument, Precision, Runtime, Scales, Window
from segwright.cli.weights import fetch_weights

if TYPE_CHECKING:
    from segwright.metrics import Scores


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    scales: Scales = None,
    flip: Flip = False,
    window: Window = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Also the boundary F-score at 3, 5, 9, 12 px.")] = False,
    runtime: Runtime = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on a split of a data set."""
    from segwright.evaluation import evaluate

    source = read_data(data)
    fetch_weights(model)
    with progress("evaluating") as tell:
        scores = evaluate(
            model, source, split=split, scales=scales or (1.0,), flip=flip, window=window, device=device,
            runtime=runtime, precision=precision, boundary=boundary, progress=tell,
        )  # fmt: skip
    if as_json:
        print_json(scores.to_json())
    else:
        print_scores(scores)
    say_next("predict", model, "PICTURES", "--format", "both")


def print_scores(scores: "Scores") -> None:
    """Classes with their IoU and accuracy, then the means and how they were measured."""
    rows = [
        [name, percent(iou), percent(scores.accuracy_per_class[name])] for name, iou in scores.iou_per_class.items()
    ]
    print_table(["class", "IoU %", "accuracy %"], rows)
    means = {"mIoU": scores.miou, "pixel accuracy": scores.pixel_accuracy, "mean accuracy": scores.mean_accuracy}
    if scores.category_miou is not None:
        means["category mIoU"] = scores.category_miou
    means |= {f"boundary F {pixels} px": score for pixels, score in scores.boundary_f.items()}
    print()
    for name, mean in means.items():
        print(f"{name:<17}{percent(mean):>6} %")
    print(f"\n{how_measured(scores)}")


def how_measured(scores: "Scores") -> str:
    """The protocol of :func:`segwright.evaluation.evaluate` as a sentence."""
    protocol = scores.protocol
    images = f"{scores.images} image{'' if scores.images == 1 else 's'}"
    if not protocol:
        return images
    scales = protocol["scales"]
    how = [
        f"scale{'' if len(scales) == 1 else 's'} {' '.join(f'{scale:g}' for scale in scales)}",
        "averaged with the mirrored picture" if protocol["flip"] else "no flip",
        *(["window {}x{} (height x width)".format(*protocol["window"])] if protocol["window"] else []),
        protocol["precision"],
        *([f"runtime {protocol['runtime']}"] if protocol.get("runtime", "torch") != "torch" else []),
    ]
    place = f"{protocol['data']}/{protocol['split']} at {protocol['resolution']} resolution"
    outlines = f"; boundary F: {protocol['boundary']}" if "boundary" in protocol else ""
    return f"{images} of {place}; {', '.join(how)}; absent classes are left out of the mean{outlines}"
