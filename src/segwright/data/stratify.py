"""Units with several classes each, shared out so that every split gets its share of every class.

Method: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011 (iterative
stratification: the rarest class first), then moves and exchanges of units as long as one helps.
Differs: the split for a unit is chosen by all of its classes, in masks and in pixels, and not by the rarest alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_PASSES = 10
_FEW = 1000  # one change among so many units: a further pass brings nothing that shows
_SIZE_WEIGHT = 4.0
"""Of the number of pictures against one class: splits of about the right size come first."""
_LEAST_GAIN = 1e-12
_MOST_TO_EXCHANGE = 100_000_000
"""Numbers looked at in one pass of exchanges; of a larger set each unit meets a part of the others only."""
_MOST_UNITS_TO_EXCHANGE = 10_000


def stratify(images: IntArray, masks: IntArray, pixels: IntArray, shares: Sequence[float]) -> IntArray:
    """The split of each unit.

    Units that come first are placed first among equals, so that their order decides what chance decides elsewhere.
    Sums run in a stated order: the result is the same on every machine.

    Args:
        images: (n,) pictures in each unit, 1 or more; a unit is never torn apart.
        masks: (n, num_classes) masks of each unit that hold a class.
        pixels: (n, num_classes) pixels of each class in each unit.
        shares: of the splits; they add up to 1. At least as many units as shares.

    Returns:
        (n,) position in ``shares``. No split is empty, and a class that lies in as many units as there are splits is
        in all of them wherever a move or an exchange reaches that.
    """
    return _Sharing(images, masks, pixels, shares).run()


class _Sharing:
    """What each split holds while units are placed.

    A split that holds x of what it should hold t of (in shares of all there is) costs (x - t)^2 / t, summed over the
    number of pictures and, for each class, its masks and its pixels. Before any cost counts whether a split lacks a
    class altogether.
    """

    def __init__(self, images: IntArray, masks: IntArray, pixels: IntArray, shares: Sequence[float]) -> None:
        amounts = np.concatenate([images[:, None], masks, pixels], axis=1).astype(np.float64)
        totals = amounts.sum(axis=0)  # whole numbers below 2**53: exact in any order
        self._amounts = amounts / np.where(totals, totals, 1)
        self._weights = np.ones(amounts.shape[1])
        self._weights[0] = _SIZE_WEIGHT
        self._wanted = np.array(shares, np.float64)
        self._held = np.zeros((len(shares), amounts.shape[1]))
        # The first column stands for the pictures: no split may be empty either.
        self._has = np.concatenate([np.ones((len(images), 1), bool), masks > 0], axis=1).astype(np.int8)
        self._reachable = self._has.sum(axis=0) >= len(shares)
        self._rarest = np.where(self._has > 0, self._has.sum(axis=0), len(images) + 1).argmin(axis=1)
        self._units_with = np.zeros((len(shares), self._has.shape[1]), np.int64)
        self._split = np.full(len(images), -1, np.int64)

    def run(self) -> IntArray:
        for unit in self._rarest_first():
            self._put(unit, self._best(unit))
        units = range(len(self._split))
        partners = _MOST_TO_EXCHANGE // self._amounts.size if len(units) <= _MOST_UNITS_TO_EXCHANGE else 0
        for _ in range(_MOST_PASSES):
            changes = sum(self._move(unit) for unit in units)
            changes += sum(self._exchange(unit, partners) for unit in units) if partners > 1 else 0
            if changes * _FEW <= len(units):
                break
        return self._split

    def _rarest_first(self) -> Iterator[int]:
        """Units of the class that is left in the fewest units; those without any class come last."""
        left = self._has[:, 1:].sum(axis=0)
        is_placed = np.zeros(len(self._split), bool)
        while left.any():
            rarest = int(np.where(left > 0, left, left.max() + 1).argmin())
            for unit in np.flatnonzero(self._has[:, 1 + rarest].astype(bool) & ~is_placed).tolist():
                is_placed[unit] = True
                left = left - self._has[unit, 1:]
                yield unit
        yield from np.flatnonzero(~is_placed).tolist()

    def _costs(self, unit: int, without: int | None = None) -> list[tuple[int, float]]:
        """For each split, the classes that it lacks without the unit, negative, and what the unit adds to the cost."""
        present = np.flatnonzero(self._amounts[unit])
        amount, weight = self._amounts[unit, present], self._weights[present]
        held, has = self._held[:, present], self._has[unit].astype(bool) & self._reachable
        units_with = self._units_with[:, has]
        if without is not None:
            held, units_with = held.copy(), units_with.copy()
            held[without] -= amount
            units_with[without] -= 1
        added = weight * amount * (amount + 2 * (held - self._wanted[:, None])) / self._wanted[:, None]
        cost = np.cumsum(added, axis=1)[:, -1]  # cumsum adds from left to right everywhere; sum does not
        return list(zip((-(units_with == 0).sum(axis=1)).tolist(), cost.tolist(), strict=True))

    def _best(self, unit: int) -> int:
        costs = self._costs(unit)
        return min(range(len(costs)), key=costs.__getitem__)

    def _move(self, unit: int) -> bool:
        """Move a unit to where it is better placed; whether there is such a split."""
        now = int(self._split[unit])
        costs = self._costs(unit, without=now)
        best = min(range(len(costs)), key=costs.__getitem__)
        fewer, gain = costs[now][0] - costs[best][0], costs[now][1] - costs[best][1]
        if fewer < 0 or (fewer == 0 and gain <= _LEAST_GAIN):
            return False
        self._put(unit, now, -1)
        self._put(unit, best)
        return True

    def _exchange(self, unit: int, partners: int) -> bool:
        """Exchange a unit for one of another split, if one of ``partners`` is better placed so; whether one is."""
        here = int(self._split[unit])
        others = np.flatnonzero(self._split != here)
        if not len(others):
            return False
        if len(others) > partners:
            alike = others[self._has[others, self._rarest[unit]] > 0][: partners // 2]
            others = np.union1d(alike, np.roll(others, -unit * partners)[: partners // 2])
        there, wanted = self._split[others], self._wanted[:, None]
        more = self._amounts[others] - self._amounts[unit]
        over = self._held - wanted
        added = more * (more + 2 * over[here]) / wanted[here] + more * (more - 2 * over[there]) / wanted[there]
        cost = np.cumsum(self._weights * added, axis=1)[:, -1]
        gained = self._has[others] - self._has[unit]
        now_here, now_there = self._units_with[here], self._units_with[there]
        lacks = (now_here + gained == 0).astype(int) - (now_here == 0) + (now_there - gained == 0) - (now_there == 0)
        lacking = (lacks * self._reachable).sum(axis=1)
        best = int(np.lexsort((cost, lacking))[0])
        if lacking[best] > 0 or (lacking[best] == 0 and cost[best] >= -_LEAST_GAIN):
            return False
        for moved, old, new in ((unit, here, int(there[best])), (int(others[best]), int(there[best]), here)):
            self._put(moved, old, -1)
            self._put(moved, new)
        return True

    def _put(self, unit: int, split: int, sign: int = 1) -> None:
        self._held[split] += sign * self._amounts[unit]
        self._units_with[split] += sign * self._has[unit]
        self._split[unit] = split if sign > 0 else -1
