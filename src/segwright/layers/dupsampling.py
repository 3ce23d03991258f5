"""Data-dependent upsampling: a linear map, made from labels, from a coarse position to the scores of its pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segwright.errors import ConfigError, ShapeError


class DUpsample(nn.Module):
    """DUpsampling (sections 3.1 and 3.2): a 1x1 convolution by W, a rearrangement, and the softmax's temperature.

    The vector at a coarse position, the code of a label patch, becomes the scores of its ``ratio`` x ``ratio`` pixels.
    W comes from labels, through :meth:`set_codes`; until then its columns are cosines of low frequency, class by class,
    which is what labels without any preference would give.

    W and P may be scaled against each other without changing what they do to a patch. Columns of length 1, as a fit
    gives them, would move the scores ``ratio ** 2`` times less per step than a classifier's weights do; the network's
    own are ``ratio`` times as long, so that a code of 1 scores a class by about 1.

    The scores are divided by the temperature T: W reproduces values near 0 and 1, on which a plain softmax cannot fall
    below a loss of ``ln(1 + (C - 1) / e)`` (section 3.2).

    Args:
        code_channels: length of a code; at most ``num_classes * ratio ** 2``.
        num_classes: C.
        ratio: rows and columns of a patch; the output stride.
        temperature: whether T is learned; else it is 1.
        frozen: W stays as it was fitted.
        trains_on_codes: in training the codes themselves are given, for the regression on compressed labels
            (section 3.1); W stays as it was fitted.

    Attributes:
        weight: (C * ratio ** 2, code_channels, 1, 1), W; row ``c * ratio ** 2 + i * ratio + j`` scores class c in row i
            and column j of the patch, the order of ``pixel_shuffle``.
        log_temperature: ln T, so that T stays positive; 0 at first.
        fitted: (C,) whether W knows the class from labels.
        projection: (code_channels, C * ratio ** 2), P, where training is on codes; else None.

    Shape:
        (N, code_channels, ceil(H / ratio), ceil(W / ratio)) -> (N, C, H, W)

    Raises:
        ConfigError: a ratio below 1, or no code channel or more than a patch has values.
    """

    fitted: Tensor
    projection: Tensor | None

    def __init__(
        self,
        code_channels: int,
        num_classes: int,
        ratio: int,
        *,
        temperature: bool = True,
        frozen: bool = False,
        trains_on_codes: bool = False,
    ) -> None:
        super().__init__()
        length = num_classes * ratio**2
        if ratio < 1 or not 1 <= code_channels <= length:
            raise ConfigError(
                f"code_channels is {code_channels} for patches of {ratio}x{ratio} pixels and {num_classes} classes",
                fix=f"give 1 to {length}, the values of such a patch; 64 in the paper",
            )
        self.code_channels, self.num_classes, self.ratio = code_channels, num_classes, ratio
        self.trains_on_codes = trains_on_codes
        basis = cosine_patches(code_channels, num_classes, ratio)
        self.weight = nn.Parameter(ratio * basis[:, :, None, None], requires_grad=not (frozen or trains_on_codes))
        self.log_temperature = nn.Parameter(torch.zeros(()), requires_grad=temperature and not trains_on_codes)
        self.register_buffer("fitted", torch.zeros(num_classes, dtype=torch.bool))
        self.register_buffer("projection", basis.T / ratio if trains_on_codes else None)

    @property
    def is_fitted(self) -> bool:
        """Whether W knows every class from labels."""
        return bool(self.fitted.all())

    @property
    def temperature(self) -> Tensor:
        """T, above 0."""
        return self.log_temperature.exp()

    @torch.no_grad()
    def set_codes(self, reconstruction: Tensor, projection: Tensor) -> None:
        """Take over W and P, as they are.

        Args:
            reconstruction: (C * ratio ** 2, code_channels), W.
            projection: (code_channels, C * ratio ** 2), P.

        Raises:
            ShapeError: they are of another ratio, class count or code length.
        """
        wanted = self.weight.shape[:2]
        if reconstruction.shape != wanted or projection.shape != wanted[::-1]:
            raise ShapeError(
                f"W is {tuple(reconstruction.shape)} and P {tuple(projection.shape)}, the network takes W of "
                f"{tuple(wanted)}: {self.num_classes} classes, ratio {self.ratio}, {self.code_channels} code channels",
                fix="fit them with the network's ratio, classes and code channels",
            )
        self.weight.copy_(reconstruction[:, :, None, None])
        self.fitted.fill_(True)
        if self.projection is not None:
            self.projection.copy_(projection)

    def forward(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Scores, divided by T, of the top left ``size`` pixels."""
        scores = F.conv2d(codes / self.temperature, self.weight)  # (N, C * ratio ** 2, h, w)
        return F.pixel_shuffle(scores, self.ratio)[..., : size[0], : size[1]]  # (N, C, H, W)

    @torch.no_grad()
    def encode(self, masks: Tensor, ignore_index: int) -> Tensor:
        """The codes P v of the patches of (N, H, W) masks; ignored pixels and those beyond the edge are of no class.

        Shape:
            (N, H, W) -> (N, code_channels, ceil(H / ratio), ceil(W / ratio))

        Raises:
            ConfigError: the network was not made to train on codes.
        """
        if self.projection is None:
            raise ConfigError("this network has no P to compress labels with", fix="build it with trains_on_codes")
        rows = label_patches(masks, self.ratio)  # (N, h, w, ratio ** 2)
        place = torch.arange(self.ratio**2, device=masks.device)
        nowhere = self.num_classes * self.ratio**2
        is_class = (rows >= 0) & (rows < self.num_classes) & (rows != ignore_index)
        index = torch.where(is_class, rows * self.ratio**2 + place, nowhere)
        table = F.pad(self.projection.T, (0, 0, 0, 1))
        codes = F.embedding_bag(index.flatten(0, 2), table, mode="sum", padding_idx=nowhere)
        return codes.view(*index.shape[:3], -1).permute(0, 3, 1, 2)


def label_patches(masks: Tensor, ratio: int) -> Tensor:
    """Windows of ``ratio`` x ``ratio`` pixels, row by row; beyond the right and lower edge their value is -1.

    Shape:
        (N, H, W) -> (N, ceil(H / ratio), ceil(W / ratio), ratio ** 2)
    """
    height, width = masks.shape[-2:]
    padded = F.pad(masks.long(), (0, -width % ratio, 0, -height % ratio), value=-1)
    rows, columns = (side // ratio for side in padded.shape[-2:])
    windows = padded.view(-1, rows, ratio, columns, ratio).transpose(2, 3)
    return windows.reshape(-1, rows, columns, ratio**2)


def cosine_patches(code_channels: int, num_classes: int, ratio: int) -> Tensor:
    """(num_classes * ratio ** 2, code_channels) orthonormal columns: two-dimensional cosines, low frequencies first.

    Each frequency comes once per class before the next one does.
    """
    steps = torch.arange(ratio, dtype=torch.float64)
    waves = torch.cos(math.pi / ratio * (steps + 0.5) * steps[:, None]) * math.sqrt(2 / ratio)  # (frequency, pixel)
    waves[0] = math.sqrt(1 / ratio)
    frequencies = sorted(((u, v) for u in range(ratio) for v in range(ratio)), key=lambda pair: (sum(pair), pair))
    columns = torch.zeros(code_channels, num_classes, ratio, ratio)
    for column in range(code_channels):
        row, across = frequencies[column // num_classes]
        columns[column, column % num_classes] = torch.outer(waves[row], waves[across])
    return columns.flatten(1).T.contiguous()


def default_code_channels(num_classes: int, ratio: int, *, paper: int = 64) -> int:
    """The paper's code length, or 3 per class where that is more; no longer than a patch.

    The paper's 64 hold its 21 classes three times. With about as many codes as classes a code says no more than the
    shares of the classes, and bilinear upsampling is better.
    """
    return min(max(paper, 3 * num_classes), num_classes * ratio**2)
