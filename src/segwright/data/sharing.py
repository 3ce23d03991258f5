"""Train and val where nobody has split a data set: a share of the stems, by a hash of each."""

import hashlib
from collections.abc import Iterable

_VAL_SHARE = 0.2


def share_stems(stems: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """About four fifths of the stems for train and the others for val; a single stem is in both.

    They are chosen by a hash of each stem, so that more pictures never move one. Only where that leaves a split empty,
    as among a handful of pictures, the lowest or highest hash fills it.
    """
    ranked = sorted(stems, key=_share_of_hash)
    val = frozenset(stem for stem in ranked if _share_of_hash(stem) < _VAL_SHARE) or frozenset(ranked[:1])
    train = frozenset(ranked) - val or frozenset(ranked[-1:])
    return train, val - train or val


def _share_of_hash(stem: str) -> float:
    """A number in 0..1 that depends on the stem alone, which need not be UTF-8."""
    return int.from_bytes(hashlib.sha256(stem.encode(errors="surrogatepass")).digest()[:8]) / 2**64
