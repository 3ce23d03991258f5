"""Maps of a picture's own size in less memory: rows in bands, and activations computed twice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def by_bands(compute: Callable[[slice], Tensor], height: int, *, reach: int, rows: int) -> Tensor:
    """A map computed band by band, equal to the whole one.

    Args:
        compute: gives (N, C, rows, W) of the asked rows, as if the picture were cut there.
        height: of the map.
        reach: rows beyond a band on which its values depend.
        rows: of a band.
    """
    rows = max(rows, 4 * reach, 1)
    if height <= rows:
        return compute(slice(0, height))
    bands = []
    for start in range(0, height, rows):
        stop, top = min(start + rows, height), max(start - reach, 0)
        band = compute(slice(top, min(stop + reach, height)))
        bands.append(band[:, :, start - top : stop - top])
    return torch.cat(bands, dim=2)


def resize_rows(maps: Tensor, size: tuple[int, int], rows: slice, *, align_corners: bool) -> Tensor:
    """The asked rows of a bilinear resize of (N, C, H, W) maps to ``size``, without the others."""
    height, width = maps.shape[-2:]
    if (height, width) == tuple(size):
        return maps[:, :, rows]
    positions = torch.arange(rows.start, rows.stop, dtype=torch.float64, device=maps.device)
    if align_corners:
        source = positions * ((height - 1) / max(size[0] - 1, 1))
    else:
        source = ((positions + 0.5) * (height / size[0]) - 0.5).clamp(0, height - 1)
    lower = source.long()
    share = (source - lower).to(maps.dtype)[:, None]
    band = torch.lerp(maps[:, :, lower], maps[:, :, (lower + 1).clamp(max=height - 1)], share)
    return F.interpolate(band, size=(len(positions), size[1]), mode="bilinear", align_corners=align_corners)


def call(module: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """The module's output.

    Args:
        module: what to call.
        inputs: of it.
        recompute: keep the inputs only for the backward pass, which computes the rest again. Normalisations count a
            batch once: computing again leaves their running statistics as they are.
    """
    if not recompute:
        return module(*inputs)  # type: ignore[no-any-return]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(module)

    output: Tensor = checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts)
    return output


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalisations inside ``module`` normalise by the batch but do not count it."""
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counters = [counter for norm in norms if (counter := norm.num_batches_tracked) is not None]
    counts = [counter.clone() for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for counter, count in zip(counters, counts, strict=True):
            counter.copy_(count)
