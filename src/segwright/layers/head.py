"""The plain prediction head that most papers use for their auxiliary losses."""

from torch import nn

from segwright.layers.conv import ConvBNReLU


class FCNHead(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU, dropout, 1x1 classifier.

    Args:
        in_channels: channels of the map it reads.
        num_classes: channels of the logits.
        width: channels in between.
        dropout: probability of dropping a channel's value before the classifier.
        dilation: of the 3x3 convolution.

    Shape:
        (N, in_channels, H, W) -> (N, num_classes, H, W)
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, width: int, dropout: float = 0.1, dilation: int = 1
    ) -> None:
        super().__init__(
            ConvBNReLU(in_channels, width, 3, dilation=dilation),
            nn.Dropout(dropout),
            nn.Conv2d(width, num_classes, kernel_size=1),
        )
