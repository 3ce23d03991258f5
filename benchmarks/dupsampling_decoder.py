"""DUpsampling's decoder and network against DeepLabv3+'s: multiply-adds and seconds on this machine, at 513x513.

The paper counts 20 % of the operations in the decoder (table 3: b1u2c3, 1.15 against 5.53 billion, the pooling counts
as encoder) and 30 % in the whole network (Xception-65, ours at output stride 16, DeepLabv3+ at 8). Decoders read equal
maps; DeepLabv3+'s is timed with and without its final resize to the image, which costs no multiply-adds here, ours
always ends at the image's size. Run: python benchmarks/dupsampling_decoder.py
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from interleaved import interleaved
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segwright.layers import resize
from segwright.layers.dupsampling import DUpsample
from segwright.models import create_model
from segwright.models.deeplabv3plus import DeepLabV3PlusDecoder
from segwright.models.dupsampling import DUpsamplingDecoder

CLASSES, SIDE = 21, 513
LOW_LEVEL = (1, 256, 129, 129)  # b1u2c3
ENCODED = (1, 256, 33, 33)  # after the pooling
NETWORKS = {
    "DUpsampling, output stride 16": ("dupsampling", 16),
    "DeepLabv3+, output stride 8": ("deeplabv3plus", 8),
    "DeepLabv3+, output stride 16": ("deeplabv3plus", 16),
}
Call = Callable[[Sequence[Tensor]], Tensor]


class OursDecoder(nn.Module):
    """Fusion at the coarse map, projection to 64 codes, W and the rearrangement."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = DUpsamplingDecoder((256, 256), 64, 16)
        self.decoder.aspp = nn.Identity()  # type: ignore[assignment]
        self.upsampler = DUpsample(64, CLASSES, 16)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.upsampler(self.decoder(features).logits, (SIDE, SIDE))
        return scores


class TheirsDecoder(nn.Module):
    """Fusion at stride 4, a classifier, and perhaps the resize to the image."""

    def __init__(self, *, to_image: bool) -> None:
        super().__init__()
        self.to_image = to_image
        self.decoder = DeepLabV3PlusDecoder((256, 256), CLASSES, 16)
        self.decoder.aspp = nn.Identity()  # type: ignore[assignment]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.decoder(features).logits
        return resize(logits, (SIDE, SIDE)) if self.to_image else logits


def decoders() -> dict[str, nn.Module]:
    return {
        "DUpsampling": OursDecoder(),
        "DeepLabv3+ with resize": TheirsDecoder(to_image=True),
        "DeepLabv3+ at stride 4": TheirsDecoder(to_image=False),
    }


def gmacs(module: nn.Module, *inputs: object) -> float:
    """Multiply-adds of convolutions and matrix products, in billions; on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return float(counter.get_total_flops()) / 2e9


def channels_last(module: nn.Module) -> nn.Module:
    return module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def forward(module: nn.Module, inputs: object) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        return module(inputs)

    return call


def table(
    title: str, macs: Mapping[str, float], calls: Mapping[str, Callable[[], object]], rounds: int, paper: str
) -> None:
    """Times the calls on one thread and on all, and prints the first's share of each other's cost and time."""
    print(f"\n{title}")
    available = torch.get_num_threads()
    medians = {}
    for threads in sorted({1, available}):
        torch.set_num_threads(threads)
        print(f"{threads} thread{'s' if threads > 1 else ''}")
        # One thread's own time then, whatever else the machine does.
        medians[threads] = interleaved(
            calls, rounds=rounds, clock=time.process_time if threads == 1 else time.perf_counter
        )
    ours, *others = macs
    for other in others:
        shares = ", ".join(f"time on {threads} {times[ours] / times[other]:.1%}" for threads, times in medians.items())
        print(
            f"{ours} / {other}: {macs[ours]:.3f} / {macs[other]:.3f} GMACs = {macs[ours] / macs[other]:.1%}, {shares}"
        )
    print(f"paper: {paper}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoder-rounds", type=int, default=15)
    parser.add_argument("--network-rounds", type=int, default=2)
    parser.add_argument("--backbone", default="xception65")
    options = parser.parse_args()

    with torch.device("meta"):
        features = [torch.empty(LOW_LEVEL), torch.empty(ENCODED)]
        counts = {name: gmacs(module, features) for name, module in decoders().items()}
    maps = [torch.randn(shape).contiguous(memory_format=torch.channels_last) for shape in (LOW_LEVEL, ENCODED)]
    calls = {name: forward(channels_last(module), maps) for name, module in decoders().items()}
    table("decoders", counts, calls, options.decoder_rounds, "20.8 % (1.15 / 5.53 billion FLOPS)")

    def network(name: str, stride: int) -> nn.Module:
        return create_model(name, num_classes=CLASSES, backbone=options.backbone, output_stride=stride)

    with torch.device("meta"):
        picture = torch.empty(1, 3, SIDE, SIDE)
        counts = {label: gmacs(network(*which), picture) for label, which in NETWORKS.items()}
    image = torch.randn(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    calls = {label: forward(channels_last(network(*which)), image) for label, which in NETWORKS.items()}
    table(f"networks on {options.backbone}", counts, calls, options.network_rounds, "30 % (against output stride 8)")


if __name__ == "__main__":
    main()
