"""What the pictures of a split hold where they are no 8-bit RGB: their bands, and what a network divides them by."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from segwright.data.statistics import Moments, PictureStatistics, PictureSums, picture_moments
from segwright.errors import DataError
from segwright.runtime.bands import read_picture
from segwright.runtime.machine import available_cpus
from segwright.runtime.stored import Stored, stored_as

_MOST_THREADS = 8  # each holds one picture in memory


def band_statistics(
    paths: Sequence[Path], bands: int | None, *, progress: Callable[[int, int], None] | None = None
) -> PictureStatistics:
    """Mean and standard deviation of each band over all pixels; a few pictures are in memory at a time.

    Args:
        paths: of the pictures.
        bands: that each must have, read as they are stored; ``None`` reads 8-bit RGB.
        progress: called with pictures done and in all.

    Raises:
        DataError: no picture, one that cannot be read, or two whose values are of different kinds.
    """
    total: PictureSums | None = None
    with ThreadPoolExecutor(min(_MOST_THREADS, available_cpus())) as pool:
        counted = pool.map(partial(_moments_of, bands=bands), paths)
        for done, (path, moments) in enumerate(zip(paths, counted, strict=True), start=1):
            total = total or PictureSums(moments.kind)
            if moments.kind != total.kind:
                pool.shutdown(wait=False, cancel_futures=True)
                raise kinds_differ(path, moments.kind.dtype, paths[0], total.kind.dtype)
            total.add(moments)
            if progress:
                progress(done, len(paths))
    if total is None:
        raise DataError("there is no picture whose bands could be counted", fix="give at least one")
    return total.statistics()


def _moments_of(path: Path, bands: int | None) -> Moments:
    return picture_moments(read_picture(path, bands))


def stored_heads(paths: Sequence[Path]) -> Iterator[tuple[Path, Stored]]:
    """What the heads of files say; those that cannot be read are left out, for the data's check names them."""
    for path in paths:
        try:
            yield path, stored_as(path)
        except DataError:
            continue


def kinds_differ(path: Path, kind: object, other: Path, other_kind: object) -> DataError:
    """The error for two pictures of one data set that no one network reads."""
    return DataError(
        f"picture '{path}' holds {kind}, and '{other}' holds {other_kind}",
        fix="save all pictures of the data set with the same bands and the same kind of values",
    )
