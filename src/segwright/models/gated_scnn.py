"""Gated-SCNN: Gated Shape CNNs for Semantic Segmentation.

Paper: Takikawa, Acuna, Jampani, Fidler, ICCV 2019, https://arxiv.org/abs/1907.05740
Layers: section 3, with the numbers of the authors' code; the departures of its weights are the variant ``released``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segwright.backbones import Backbone, create_backbone
from segwright.backbones.wide_resnet38 import WideResNet38
from segwright.layers import BatchNorm2d, ConvBN, ConvBNReLU, resize, resize_as
from segwright.layers.aspp import ASPP
from segwright.layers.bands import by_bands, call, resize_rows
from segwright.layers.edges import Canny, NoGradient, Sobel
from segwright.models.segmentation_model import SegmentationModel, register_model
from segwright.types import SegmentationOutput


@dataclass(frozen=True)
class Variant:
    """Where the released weights depart from the paper; the defaults are the paper's."""

    align_corners: bool = False  # of all resizes but the last
    wraps: bool = False  # Canny reads the normalised values themselves as bytes
    edge_value: float = 1.0  # of Canny's edges


VARIANTS = {"paper": Variant(), "released": Variant(align_corners=True, wraps=True, edge_value=255.0)}


class GatedSCNN(SegmentationModel):
    """A regular stream, a shape stream that it gates, and a module that fuses the two (figure 2).

    Args:
        backbone: the regular stream, of five maps; the first map has stride 1 or 2, the last one 8.
        num_classes: channels of the logits.
        image_gradient: images -> (N, 1, H, W), the map that enters the combination convolution beside the edges.
        align_corners: of the resizes inside; True for the released weights.
        recompute: in training, keep only the ends of the shape stream's steps and compute the rest again in the
            backward pass; the same gradients for less memory.

    Shape:
        (N, 3, H, W) -> logits at the stride of the second map (2 with WideResNet-38, 4 with a ResNet);
        aux ``edges`` (N, 1, H, W), logits of "a class boundary is here"
    """

    aux_losses = {"edges": "balanced_edges"}  # noqa: RUF012
    joint_losses = {"dual_task_to": 1.0, "dual_task_from": 1.0}  # noqa: RUF012  # section 3.3, both weights 1

    def __init__(
        self,
        backbone: Backbone | WideResNet38,
        *,
        num_classes: int,
        image_gradient: nn.Module,
        align_corners: bool = False,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        first, fine, *gating = backbone.channels
        self.num_classes, self.aux_weights = num_classes, {"edges": 20.0}  # lambda 1: section 4.1
        self.backbone, self.image_gradient = backbone, image_gradient
        self.shape_stream = ShapeStream(first, gating, align_corners=align_corners, recompute=recompute)
        self.combination = nn.Conv2d(2, 1, kernel_size=1, bias=False)
        self.fusion = FusionModule(gating[-1], fine, num_classes, align_corners=align_corners)

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        maps = self.backbone(images)
        first, fine, gating = maps[0], maps[1], maps[2:]
        edges = self.shape_stream(first, gating, (images.shape[-2], images.shape[-1]))  # (N, 1, H, W)
        del first, maps[0]  # a map of the images' own size is not kept longer than it is needed
        both = torch.cat((edges.sigmoid(), self.image_gradient(images)), dim=1)
        boundaries = self.combination(both).sigmoid()  # (N, 1, H, W)
        logits = self.fusion(gating[-1], boundaries, fine)  # (N, num_classes, H/2, W/2)
        return SegmentationOutput(logits, {"edges": edges} if self.training else {})


class ShapeStream(nn.Module):
    """Class boundaries at the images' own size, from the first map and gates of the deeper ones (section 3.1).

    Of the regular stream's deeper maps only gates come in. In evaluation it is computed in bands of rows.

    Args:
        in_channels: of the first map.
        gating_channels: of the three maps that gate.
        align_corners: of the resizes.
        recompute: as :class:`GatedSCNN`.

    Shape:
        first map, three gating maps, (H, W) -> (N, 1, H, W) logits
    """

    reach = 6  # rows: two 3x3 convolutions in each of three residual blocks
    band_pixels = 1 << 17  # in evaluation: 64 rows of a picture 2048 wide

    def __init__(
        self, in_channels: int, gating_channels: Sequence[int], *, align_corners: bool, recompute: bool
    ) -> None:
        super().__init__()
        self.align_corners, self.recompute = align_corners, recompute
        widths = (in_channels, 32, 16, 8)
        self.gates = nn.ModuleList(nn.Conv2d(channels, 1, kernel_size=1) for channels in gating_channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(ResidualBlock(width), nn.Conv2d(width, narrower, kernel_size=1))
            for width, narrower in pairwise(widths)
        )
        self.gated_convs = nn.ModuleList(GatedConv(width) for width in widths[1:])
        self.classifier = nn.Conv2d(widths[-1], 1, kernel_size=1, bias=False)

    def forward(self, first: Tensor, gating: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        gates = torch.cat(
            [
                resize(gate(features), size, align_corners=self.align_corners)
                for gate, features in zip(self.gates, gating, strict=True)
            ],
            dim=1,
        )  # (N, 3, H, W)
        if self.training or first.is_meta or torch.compiler.is_compiling():
            return self.edges(resize(first, size, align_corners=self.align_corners), gates)

        def band(rows: slice) -> Tensor:
            return self.edges(resize_rows(first, size, rows, align_corners=self.align_corners), gates[:, :, rows])

        return by_bands(band, size[0], reach=self.reach, rows=self.band_pixels // (first.shape[0] * size[1]))

    def edges(self, features: Tensor, gates: Tensor) -> Tensor:
        recompute = self.recompute and self.training
        for index, (block, gated_conv) in enumerate(zip(self.blocks, self.gated_convs, strict=True)):
            features = call(block, features, recompute=recompute)  # (N, 32, H, W), then 16 and 8 channels
            features = call(gated_conv, features, gates[:, index : index + 1], recompute=recompute)
        edges: Tensor = self.classifier(features)
        return edges


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose sum with the input is activated.

    Shape:
        (N, channels, H, W) -> the same
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(ConvBNReLU(channels, channels, 3), ConvBN(channels, channels, 3))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.layers(features).add_(features), inplace=True)


class GatedConv(nn.Module):
    """Gated convolutional layer: where the regular stream sees no object, texture fades (section 3.1, equation 2).

    Shape:
        (N, channels, H, W), gate (N, 1, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            BatchNorm2d(channels + 1),
            nn.Conv2d(channels + 1, channels + 1, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels + 1, 1, kernel_size=1),
            BatchNorm2d(1),
            nn.Sigmoid(),
        )
        self.weighting = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        nn.init.xavier_normal_(self.weighting.weight)

    def forward(self, features: Tensor, gate: Tensor) -> Tensor:
        alpha = self.attention(torch.cat((features, gate), dim=1))  # (N, 1, H, W) in 0..1
        weighted: Tensor = self.weighting(features * (alpha + 1))
        return weighted


class FusionModule(nn.Module):
    """Atrous spatial pyramid pooling with a branch for the boundaries, and DeepLabv3+'s decoder (section 3.2).

    Args:
        in_channels: of the regular stream's last map.
        fine_channels: of the map at whose size the logits are given.
        num_classes: channels of the logits.
        align_corners: of the resizes.

    Shape:
        last map (N, in_channels, H/8, W/8), boundaries (N, 1, H, W), fine map -> logits of the fine map's size
    """

    def __init__(self, in_channels: int, fine_channels: int, num_classes: int, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.aspp = ASPP(in_channels, 256, rates=(12, 24, 36), merge_kernel=0)
        self.boundary_branch = ConvBNReLU(1, 256)
        self.merge = nn.Conv2d(self.aspp.channels + 256, 256, kernel_size=1, bias=False)
        self.fine = nn.Conv2d(fine_channels, 48, kernel_size=1, bias=False)
        self.classifier = nn.Sequential(
            ConvBNReLU(256 + 48, 256, 3), ConvBNReLU(256, 256, 3), nn.Conv2d(256, num_classes, 1, bias=False)
        )

    def forward(self, last: Tensor, boundaries: Tensor, fine: Tensor) -> Tensor:
        branch = self.boundary_branch(resize_as(boundaries, last, align_corners=self.align_corners))
        merged = self.merge(torch.cat((self.aspp(last), branch), dim=1))  # (N, 256, H/8, W/8)
        upsampled = resize_as(merged, fine, align_corners=self.align_corners)
        logits: Tensor = self.classifier(torch.cat((self.fine(fine), upsampled), dim=1))
        return logits


@register_model
def gated_scnn(
    num_classes: int,
    *,
    trunk: str = "wide_resnet38",
    image_gradient: Literal["canny", "sobel", "none"] = "canny",
    recompute: bool = True,
    variant: Literal["paper", "released"] = "paper",
) -> GatedSCNN:
    """Gated-SCNN (Takikawa et al., ICCV 2019).

    Args:
        num_classes: channels of the logits.
        trunk: ``wide_resnet38``, or any ResNet of timm's; resnet101 and resnet50 are the paper's others.
        image_gradient: ``canny``; ``sobel``, which has a gradient of its own; or ``none``, the ablation.
        recompute: in training, compute most of the shape stream again in the backward pass, to save memory.
        variant: ``paper``, or the departures of the released weights.
    """
    departures = VARIANTS[variant]
    # All 3x3 convolutions of a dilated stage use its dilation, as in the released ResNets.
    plain = partial(create_backbone, output_stride=8, dilation="plain", levels=(1, 2, 3, 4, 5))
    gradients: dict[str, Callable[[], nn.Module]] = {
        "canny": partial(Canny, wraps=departures.wraps, edge_value=departures.edge_value),
        "sobel": Sobel,
        "none": NoGradient,
    }
    return GatedSCNN(
        WideResNet38() if trunk == "wide_resnet38" else plain(trunk),
        num_classes=num_classes,
        image_gradient=gradients[image_gradient](),
        align_corners=departures.align_corners,
        recompute=recompute,
    )
