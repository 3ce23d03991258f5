"""The loss of a whole network: its logits and its auxiliary outputs, paired with weights by name."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segwright.errors import ShapeError
from segwright.losses.auxiliary import AUX_LOSSES
from segwright.losses.boundary import JOINT_LOSSES
from segwright.losses.dice import dice
from segwright.types import SegmentationOutput


class SegmentationLoss(nn.Module):
    """``loss(logits) + sum of aux_weights[name] * loss(aux[name])``.

    Every prediction, at whatever stride, is interpolated bilinearly to the masks' height and width, in float32. With
    ``pixel_stride`` n only every n-th row and column counts: the logits are interpolated at exactly those pixels, and
    the first row and column are drawn anew for each call, so that every pixel comes to count. That estimates the full
    loss at a fraction of its cost (more than the network's own, for a small network on a CPU): without bias where the
    stride divides both sides and no pixel is ignored, nearly so elsewhere.

    Args:
        pixel_loss: ``f(logits, masks) -> scalar`` of one prediction at the masks' size.
        aux_weights: the network's ``aux_weights``.
        align_corners: of the interpolation; the network's own.
        pixel_stride: of the main prediction; 1 counts every pixel, as the papers do.
        aux_pixel_stride: of the auxiliary predictions.
        aux_losses: losses of the predictions that are not resized to the masks, ``main`` among them: names in
            ``AUX_LOSSES``, or such functions.
        ignore_index: of pixels without a label.
        joint_losses: weight of each of ``JOINT_LOSSES`` to add; they see every pixel.
        dice_weight: of the Dice loss of the main prediction, at the pixels that count; 0 for none.
    """

    def __init__(
        self,
        pixel_loss: Callable[[Tensor, Tensor], Tensor],
        aux_weights: Mapping[str, float],
        *,
        align_corners: bool = False,
        pixel_stride: int = 1,
        aux_pixel_stride: int = 1,
        aux_losses: Mapping[str, str | Callable[..., Tensor]] | None = None,
        ignore_index: int = 255,
        joint_losses: Mapping[str, float] | None = None,
        dice_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.joint_losses = {name: JOINT_LOSSES[name] for name in joint_losses or {}}
        self.weights = {**aux_weights, **(joint_losses or {}), "dice": dice_weight}
        self.aux_losses = {
            name: AUX_LOSSES[loss] if isinstance(loss, str) else loss for name, loss in (aux_losses or {}).items()
        }
        self.ignore_index = ignore_index
        self.pixel_loss, self.aux_weights, self.align_corners = pixel_loss, dict(aux_weights), align_corners
        self.pixel_stride, self.aux_pixel_stride = pixel_stride, aux_pixel_stride

    def forward(self, output: SegmentationOutput, masks: Tensor) -> dict[str, Tensor]:
        """Losses by name: ``loss`` (the weighted sum), ``main``, one per auxiliary output and per other loss.

        Args:
            output: of the network in training mode; logits and aux may have any stride.
            masks: (N, H, W) integers of class indices and the ignored value.

        Raises:
            ShapeError: an auxiliary output without a weight, or a weight without an output.
        """
        if set(output.aux) != set(self.aux_weights):
            raise ShapeError(
                f"auxiliary outputs {sorted(output.aux)} and weights {sorted(self.aux_weights)} differ",
                fix="put the network into training mode, and name each output in aux_weights",
            )
        losses = {"main": self._named_loss("main", output.logits, masks, self.pixel_stride)}
        for name, prediction in output.aux.items():
            losses[name] = self._named_loss(name, prediction, masks, self.aux_pixel_stride)
        losses |= self._joint_losses(output, masks)
        if self.weights["dice"]:
            with torch.autocast(output.logits.device.type, enabled=False):
                logits, labels = self._sampled(output.logits, masks, self.pixel_stride)
                losses["dice"] = dice(logits, labels, ignore_index=self.ignore_index)
        weighted = [self.weights.get(name, 1.0) * loss for name, loss in losses.items()]
        return {"loss": torch.stack(weighted).sum(), **losses}

    def _named_loss(self, name: str, prediction: Tensor, masks: Tensor, stride: int) -> Tensor:
        if name not in self.aux_losses:
            return self._loss(prediction, masks, stride)
        loss_fn = self.aux_losses[name]
        with torch.autocast(prediction.device.type, enabled=False):
            return loss_fn(prediction.float(), masks.long(), pixel_loss=self.pixel_loss, ignore_index=self.ignore_index)

    def _joint_losses(self, output: SegmentationOutput, masks: Tensor) -> dict[str, Tensor]:
        if not self.joint_losses:
            return {}
        rows, columns = (Grid(side) for side in masks.shape[-2:])
        with torch.autocast(output.logits.device.type, enabled=False):
            logits = interpolate_at(output.logits.float(), rows, columns, align_corners=self.align_corners)
            full, labels = SegmentationOutput(logits, output.aux), masks.long()
            return {
                name: loss(full, labels, ignore_index=self.ignore_index) for name, loss in self.joint_losses.items()
            }

    def _loss(self, logits: Tensor, masks: Tensor, stride: int) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):  # its matrix products would be bf16
            return self.pixel_loss(*self._sampled(logits, masks, stride))

    def _sampled(self, logits: Tensor, masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Logits and masks at every ``stride``-th row and column, from a row and a column drawn at random."""
        height, width = masks.shape[-2:]
        top, left = (int(torch.randint(min(stride, side), ())) for side in (height, width))
        rows, columns = Grid(height, top, stride), Grid(width, left, stride)
        sampled = interpolate_at(logits.float(), rows, columns, align_corners=self.align_corners)
        return sampled, masks[:, top::stride, left::stride].long()


class Grid(NamedTuple):
    """Every ``stride``-th position of an axis of ``size`` pixels, from ``first`` on."""

    size: int
    first: int = 0
    stride: int = 1


def interpolate_at(maps: Tensor, rows: Grid, columns: Grid, *, align_corners: bool = False) -> Tensor:
    """The pixels of ``rows`` and ``columns`` of a bilinear resize of (N, C, H, W) maps, without the others.

    Maps of that size already are read at those pixels. Else two matrix products, one per axis: several times
    faster on a CPU than ``interpolate`` and its gradient.
    """
    if maps.shape[-2:] == (rows.size, columns.size):
        return maps[..., rows.first :: rows.stride, columns.first :: columns.stride]
    across = interpolation_matrix(maps.shape[-1], columns, align_corners).to(maps)
    down = interpolation_matrix(maps.shape[-2], rows, align_corners).to(maps)
    return down @ (maps @ across.T)


@lru_cache(maxsize=256)
def interpolation_matrix(size: int, grid: Grid, align_corners: bool) -> Tensor:
    """(positions, size) float32: row i holds the two bilinear weights of output position ``grid[i]``."""
    positions = torch.arange(grid.first, grid.size, grid.stride, dtype=torch.float64)
    if align_corners:
        source = positions * ((size - 1) / max(grid.size - 1, 1))
    else:
        source = ((positions + 0.5) * (size / grid.size) - 0.5).clamp(0, size - 1)
    lower = source.floor().long().clamp(max=size - 1)
    upper = (lower + 1).clamp(max=size - 1)
    share = source - lower
    matrix = torch.zeros(len(positions), size, dtype=torch.float64)
    index = torch.arange(len(positions))
    matrix[index, lower] += 1 - share
    matrix[index, upper] += share
    return matrix.float()
