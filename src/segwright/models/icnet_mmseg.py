"""The network that mmsegmentation publishes as ICNet: ``icnet`` with ``variant="mmseg"``.

Code: mmsegmentation 1.2.2, mmseg/models/backbones/icnet.py and necks/ic_neck.py
Differs: from the paper in a trunk of full width with its stride on the 3x3, bins concatenated instead of added, logits
at 1/8 behind a 3x3 convolution, a ReLU before the sums, guidance after the fusion's convolution and by labels of full
size, no aligned corners.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from segwright.backbones import Backbone
from segwright.layers import ConvBNReLU, FCNHead, PyramidPooling, resize_as
from segwright.models.segmentation_model import SegmentationModel
from segwright.types import SegmentationOutput


class MMSegICNet(SegmentationModel):
    """A ResNet at two scales beside three light layers at the full one.

    Args:
        num_classes: channels of the logits.
        backbone: a ResNet of timm, of output stride 8, that gives c2 to c5; it reads the image at 1/2.
        aux: heads on the low and medium branch.

    Shape:
        (N, 3, H, W) -> logits (N, num_classes, H/8, W/8); aux ``low`` at H/16, ``medium`` at H/8.
    """

    def __init__(self, num_classes: int, backbone: Backbone, *, aux: bool = True) -> None:
        super().__init__()
        self.num_classes, self.backbone = num_classes, backbone
        backbone.network.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        c3, c5 = backbone.channels[1], backbone.channels[3]
        self.pyramid = PyramidPooling(c5, 512, width=512, fusion_kernel=3)
        self.low_projection, self.medium_projection = ConvBNReLU(512, 256), ConvBNReLU(c3, 256)
        self.high_branch = nn.Sequential(
            ConvBNReLU(3, 32, 3, stride=2), ConvBNReLU(32, 32, 3, stride=2), ConvBNReLU(32, 64, 3, stride=2)
        )
        self.fusion_low = Fusion(256, 256, 128)
        self.fusion_medium = Fusion(128, 64, 128)
        self.classifier = FCNHead(128, num_classes, width=128, dropout=0.0)
        names = ("low", "medium") if aux else ()
        self.aux_heads = nn.ModuleDict({name: FCNHead(128, num_classes, width=128) for name in names})
        self.aux_weights = dict.fromkeys(names, 0.4)

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        c3, c5 = self.trunk(images)  # H/16, W/16 and H/32, W/32
        low = self.low_projection(self.pyramid(c5))  # (N, 256, H/32, W/32)
        fused, low = self.fusion_low(low, self.medium_projection(c3))  # (N, 128, H/16, W/16) twice
        fused, medium = self.fusion_medium(fused, self.high_branch(images))  # (N, 128, H/8, W/8) twice
        guided = {"low": low, "medium": medium}
        heads = self.aux_heads.items() if self.training else ()
        logits = self.classifier(fused)  # (N, num_classes, H/8, W/8)
        return SegmentationOutput(logits, {name: head(guided[name]) for name, head in heads})

    def trunk(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map c3 of the image at 1/2, and c5 of that map at 1/2."""
        features = c3 = halve(images)
        for name, part in self.backbone.network.named_children():
            if name == "layer3":
                c3, features = features, halve(features)
            features = part(features)
        return c3, features


class Fusion(nn.Module):
    """Cascade feature fusion as it stands there.

    Shape:
        (N, low_channels, h, w), (N, high_channels, H, W) -> (N, out_channels, H, W), and the convolved coarse map
    """

    def __init__(self, low_channels: int, high_channels: int, out_channels: int) -> None:
        super().__init__()
        self.low = ConvBNReLU(low_channels, out_channels, 3, dilation=2)
        self.high = ConvBNReLU(high_channels, out_channels)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        convolved = self.low(resize_as(low, high))
        return convolved + self.high(high), convolved  # no ReLU: neither is negative


def halve(maps: Tensor) -> Tensor:
    """Bilinear resize by exactly 1/2 without aligned corners: the mean of 2x2 values; a side of 1 stays."""
    return F.avg_pool2d(maps, (min(2, maps.shape[-2]), min(2, maps.shape[-1])))
