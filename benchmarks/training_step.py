"""What each step to a faster training step brings: channels last, bf16, and the loss on every second row and column.

Forward, loss, backward and update of Fast-SCNN with both auxiliary heads, interleaved. The reference resizes all
three predictions with torch's interpolate and counts every pixel. Run: python benchmarks/training_step.py
"""

import argparse
from collections.abc import Callable

import torch
from interleaved import interleaved
from torch import Tensor
from torch.nn import functional as F

from segwright.losses import SegmentationLoss, cross_entropy
from segwright.models import create_model
from segwright.types import SegmentationOutput

Loss = Callable[[SegmentationOutput, Tensor], Tensor]


def plain_loss(output: SegmentationOutput, masks: Tensor) -> Tensor:
    """The papers' loss as most code bases write it."""
    size = (masks.shape[-2], masks.shape[-1])
    predictions = {1.0: [output.logits], 0.4: list(output.aux.values())}
    return torch.stack(
        [
            weight * F.cross_entropy(F.interpolate(logits.float(), size=size, mode="bilinear"), masks, ignore_index=255)
            for weight, several in predictions.items()
            for logits in several
        ]
    ).sum()


def our_loss(stride: int, aux_stride: int, dice_weight: float = 0.0) -> Loss:
    model = create_model("fast_scnn", num_classes=11)
    loss = SegmentationLoss(
        cross_entropy, model.aux_weights, pixel_stride=stride, aux_pixel_stride=aux_stride, dice_weight=dice_weight
    )
    return lambda output, masks: loss(output, masks)["loss"]


def training_step(
    batch: int, size: tuple[int, int], *, loss: Loss, channels_last: bool, bf16: bool
) -> Callable[[], object]:
    """A call that trains one step on random pictures."""
    torch.manual_seed(0)
    order = torch.channels_last if channels_last else torch.contiguous_format
    model = create_model("fast_scnn", num_classes=11).to(memory_format=order).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(batch, 3, *size).contiguous(memory_format=order)
    masks = torch.randint(0, 11, (batch, *size))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model.strided_logits(images)
        loss(output, masks).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(352, 480), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    variants = {
        "float32, contiguous, plain loss": (plain_loss, False, False),
        "+ channels last": (plain_loss, True, False),
        "+ bf16": (plain_loss, True, True),
        "+ interpolation as two products": (our_loss(1, 1), True, True),
        "+ pixel_stride 2, aux 4": (our_loss(2, 4), True, True),
        "the same with Dice": (our_loss(2, 4, dice_weight=0.5), True, True),
    }
    size = (options.size[0], options.size[1])
    steps = {
        name: training_step(options.batch, size, loss=loss, channels_last=order, bf16=bf16)
        for name, (loss, order, bf16) in variants.items()
    }
    medians = interleaved(steps, rounds=options.rounds)
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"{name:<34} {options.batch / seconds:6.1f} images/s  {first / seconds:.2f}x")


if __name__ == "__main__":
    main()
