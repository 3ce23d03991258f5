"""A data set shared out into train, val and test: each gets its share of every class, and groups stay together."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segwright.data.dataset import SPLITS, Folders, Pair, SegmentationData
from segwright.data.masks import MaskReader, count_pixels
from segwright.data.source import load_data
from segwright.data.stratify import IntArray, stratify
from segwright.data.writing import check_target, equal_files, naming_os_errors, write_head
from segwright.errors import ConfigError, DataError
from segwright.runtime.folders import new_folder

SHARES = (0.8, 0.1, 0.1)
_MOST_LISTED = 3
_TOLERANCE = 1e-6

Progress = Callable[[str, int, int], None]
"""Called with what is done, files done and files in all."""


@dataclass(frozen=True)
class Division:
    """A data set that was shared out.

    Args:
        folder: of the new data set.
        images: number of pictures per split.
        groups: number of groups per split; pictures without a group count one each.
        masks: by split and class, the masks that hold it.
        pixels: by split and class, its pixels.
        notes: what was decided or could not be reached, one sentence each.
    """

    folder: Path
    images: dict[str, int]
    groups: dict[str, int]
    masks: dict[str, dict[str, int]]
    pixels: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def share_of_pixels(self, split: str, name: str) -> float | None:
        """The part of a class's pixels that lies in a split; ``None`` for a class without a pixel."""
        total = sum(pixels[name] for pixels in self.pixels.values())
        return self.pixels[split][name] / total if total else None

    def to_json(self) -> dict[str, Any]:
        return {
            "data": str(self.folder),
            "images": self.images,
            "groups": self.groups,
            "masks": self.masks,
            "pixels": self.pixels,
            "notes": list(self.notes),
        }


class _Item(NamedTuple):
    """A pair, and its path without suffix in the new data set."""

    stem: str
    pair: Pair


def split_data(
    data: str | Path | SegmentationData,
    folder: str | Path,
    *,
    shares: Sequence[float] = SHARES,
    group: str = "",
    seed: int = 0,
    link: bool = False,
    from_splits: Sequence[str] = (),
    progress: Progress = lambda what, done, total: None,
) -> Division:
    r"""Write a new data set whose splits each hold their share of every class's masks and pixels.

    The result depends on the files' names, the masks and ``seed`` alone. Pictures that are the same byte by byte count
    as one group, so that none is in two splits.

    Args:
        data: the data set; with several splits they are pooled.
        folder: new or empty; gets ``images/<split>``, ``masks/<split>`` and ``data.yaml``, all of it or nothing.
        shares: of train and val, or of train, val and test; they add up to 1.
        group: which pictures stay together: a regular expression with one group, searched for in the path below the
            split's folder without suffix (``(seq\d+)_``), or how names begin, with ``*`` and ``?`` (``*_``, ``*/``).
        seed: another one gives another division of about the same shares.
        link: write symbolic links to the files instead of copies.
        from_splits: share out these only; others are kept as they are.
        progress: called while masks are read and files written.

    Raises:
        ConfigError: shares, a pattern or splits that make no sense.
        DataError: a pair or a mask that cannot be used, a name without a group, or fewer groups than splits.
        RunError: the operating system refused to write.
        Interrupted: SIGTERM or SIGHUP; nothing is written.
    """
    check_shares(shares)
    source = data if isinstance(data, SegmentationData) else load_data(data)
    target = Path(folder).expanduser().absolute()
    root = source.source if source.source is not None else next(iter(source.folders.values())).images
    check_target(root if root.is_dir() else root.parent, target)
    splits = SPLITS[: len(shares)]
    with naming_os_errors(root, target):
        items, notes = _pool(source, splits, from_splits)
        counts = _read_masks(source, items, progress)
        groups = _group(items, group, seed, notes)
        placed = _place(items, groups, counts, shares)
        kept = {name: _items(source, name) for name in source.folders if from_splits and name not in from_splits}
        by_split = {split: [items[i] for i in np.flatnonzero(placed == k)] for k, split in enumerate(splits)} | kept
        with new_folder(target) as temporary:
            _write(temporary, target.name, source, by_split, link, progress)
    found = {split: counts[placed == k] for k, split in enumerate(splits)}
    notes += _missing_classes(source.classes, found)
    return Division(
        folder=Path(folder),
        images={split: len(found[split]) for split in splits},
        groups={split: len({groups[i] for i in np.flatnonzero(placed == k)}) for k, split in enumerate(splits)},
        masks={split: _by_class(source.classes, (rows > 0).sum(axis=0)) for split, rows in found.items()},
        pixels={split: _by_class(source.classes, rows.sum(axis=0)) for split, rows in found.items()},
        notes=tuple(notes),
    )


def check_shares(shares: Sequence[float]) -> None:
    """Raise where they are none.

    Raises:
        ConfigError: not two or three, one that is not above 0, or another sum than 1.
    """
    if len(shares) not in (2, 3) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > _TOLERANCE:
        raise ConfigError(
            f"--shares takes two or three shares above 0 that add up to 1, got {' '.join(map(str, shares))}",
            fix="write --shares 0.8 0.2 for train and val, or --shares 0.8 0.1 0.1 for train, val and test",
        )


def _pool(data: SegmentationData, splits: Sequence[str], from_splits: Sequence[str]) -> tuple[list[_Item], list[str]]:
    """The pairs to share out, in order of their names, and what is to be told about them.

    Raises:
        ConfigError: a split that is not there, or one that is kept and would be made as well.
    """
    for name in from_splits:
        if name not in data.folders:
            raise ConfigError(f"'{data.name}' has no split '{name}'", fix=f"it has: {', '.join(data.folders)}")
    kept = [name for name in data.folders if from_splits and name not in from_splits]
    both = [name for name in kept if name in splits]
    if both:
        raise ConfigError(
            f"'{data.name}' has a split '{both[0]}' already, which the shares would make anew",
            fix=f"give fewer --shares, or share it out as well: --from-split {both[0]}",
        )
    pooled = [name for name in data.folders if name not in kept]
    by_split = {name: _items(data, name) for name in pooled}
    images = {item.pair.image for items in by_split.values() for item in items}
    names = {item.stem for items in by_split.values() for item in items}
    notes = [f"{name} is kept as it is" for name in kept]
    if len(pooled) > 1:
        notes.append(f"pooled: {', '.join(f'{len(items)} of {name}' for name, items in by_split.items())}")
    if len(names) < len(images):
        notes.append("some names stand in several splits: the former split is written in front, as in 'train_NAME'")
        by_split = {
            name: [item._replace(stem=_prefixed(item.stem, name)) for item in items] for name, items in by_split.items()
        }
    # The only picture of a recognised folder is in two splits.
    pool = {item.pair.image: item for items in by_split.values() for item in items}
    return sorted(pool.values(), key=lambda item: item.stem), notes


def _items(data: SegmentationData, split: str) -> list[_Item]:
    images = data.folders_of(split).images
    pairs = data.pairs(split)
    return [_Item(pair.image.relative_to(images).with_suffix("").as_posix(), pair) for pair in pairs]


def _prefixed(stem: str, split: str) -> str:
    path = Path(stem)
    return path.with_name(f"{split}_{path.name}").as_posix()


def _read_masks(data: SegmentationData, items: Sequence[_Item], progress: Progress) -> IntArray:
    """(n, num_classes) pixels of each class in each mask.

    Raises:
        DataError: a mask that cannot be read, or holds a value that means nothing.
    """
    reader, num_classes = MaskReader(data.labels), len(data.classes)
    counts = np.zeros((len(items), num_classes), np.int64)
    with ThreadPoolExecutor() as pool:
        masks = pool.map(lambda item: count_pixels(reader.read(item.pair.mask), num_classes), items)
        for index, pixels in enumerate(masks):
            counts[index] = pixels
            progress("reading masks", index + 1, len(items))
    return counts


def _group(items: Sequence[_Item], pattern: str, seed: int, notes: list[str]) -> list[str]:
    """The group of each item, called so that their order by name is the one that ``seed`` draws.

    Raises:
        ConfigError: a pattern that is none.
        DataError: names without a group.
    """
    find = _finder(pattern)
    found = [find(item.stem) for item in items]
    lonely = [item.pair.image for item, name in zip(items, found, strict=True) if name is None]
    if lonely:
        listed = ", ".join(f"'{path}'" for path in lonely[:_MOST_LISTED])
        more = f" and {len(lonely) - _MOST_LISTED} more" if len(lonely) > _MOST_LISTED else ""
        raise DataError(
            f"--group '{pattern}' finds no group in the name of {listed}{more}",
            fix="write a pattern that all names fit: it is searched for in the path without suffix",
        )
    names = _joined([name or "" for name in found], _twins(items, notes))
    drawn = {name: hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogatepass")).hexdigest() for name in set(names)}
    return [f"{drawn[name]} {name}" for name in names]


def _finder(pattern: str) -> Callable[[str], str | None]:
    """What gives the group of a name."""
    if not pattern:
        return lambda stem: stem
    if "(" not in pattern:
        words = re.split(r"([*?])", pattern)
        beginning = re.compile("".join({"*": ".*?", "?": "."}.get(word, re.escape(word)) for word in words), re.DOTALL)
        return lambda stem: found[0] if (found := beginning.match(stem)) else None
    try:
        expression = re.compile(pattern)
    except re.error as reason:
        raise ConfigError(
            f"--group '{pattern}' is no regular expression ({reason})", fix="write for example (seq\\d+)_"
        ) from reason
    if expression.groups != 1:
        raise ConfigError(
            f"--group '{pattern}' has {expression.groups} groups in brackets",
            fix="put brackets around the one part that names the group, as in (seq\\d+)_",
        )
    return lambda stem: found[1] if (found := expression.search(stem)) else None


def _twins(items: Sequence[_Item], notes: list[str]) -> list[list[int]]:
    """Positions of pictures that are the same byte by byte, told."""
    twins = equal_files([item.pair.image for item in items])
    if twins:
        first, second = (items[index].pair.image for index in twins[0][:2])
        count = sum(map(len, twins))
        notes.append(f"{count} pictures are the same as another, as '{first}' and '{second}': they stay in one split")
    return twins


def _joined(names: list[str], twins: Sequence[Sequence[int]]) -> list[str]:
    """Groups that share a picture become one, called by the first name among them."""
    parent = {name: name for name in names}

    def top(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for same in twins:
        tops = sorted({top(names[index]) for index in same})
        parent.update(dict.fromkeys(tops, tops[0]))
    return [top(name) for name in names]


def _place(items: Sequence[_Item], groups: Sequence[str], counts: IntArray, shares: Sequence[float]) -> IntArray:
    """The split of each item.

    Raises:
        DataError: fewer groups than splits.
    """
    names = sorted(set(groups))
    if len(names) < len(shares):
        count = f"{len(items)} picture{'s' * (len(items) != 1)} in {len(names)} group{'s' * (len(names) != 1)}"
        raise DataError(
            f"{count} cannot make {len(shares)} splits",
            fix="give fewer --shares, a --group that joins less, or more data",
        )
    position = {name: index for index, name in enumerate(names)}
    unit = np.array([position[name] for name in groups])
    images = np.bincount(unit, minlength=len(names))
    masks, pixels = (np.zeros((len(names), counts.shape[1]), np.int64) for _ in range(2))
    np.add.at(masks, unit, (counts > 0).astype(np.int64))
    np.add.at(pixels, unit, counts)
    placed: IntArray = stratify(images, masks, pixels, shares)[unit]
    return placed


def _write(
    folder: Path,
    name: str,
    data: SegmentationData,
    by_split: Mapping[str, Sequence[_Item]],
    link: bool,
    progress: Progress,
) -> None:
    """Files and data.yaml below an empty folder."""
    total, done = sum(map(len, by_split.values())), 0
    folders = {
        split: Folders(folder / "images" / split, folder / "masks" / split) for split in SPLITS if split in by_split
    }
    put = _link if link else partial(shutil.copyfile)
    for split, places in folders.items():
        for item in by_split[split]:
            for file, place in ((item.pair.image, places.images), (item.pair.mask, places.masks)):
                copy = place / f"{item.stem}{file.suffix}"
                copy.parent.mkdir(parents=True, exist_ok=True)
                put(file, copy)
            done += 1
            progress("linking" if link else "copying", done, total)
    file = folder / "data.yaml"
    file.write_text(replace(data, name=name, folders=folders).to_yaml(folder), encoding="utf-8")
    write_head(file, [f"shared out from {data.source or data.name}"])


def _link(file: Path, place: Path) -> None:
    place.symlink_to(file.resolve())


def _missing_classes(classes: Sequence[str], found: Mapping[str, IntArray]) -> list[str]:
    """A sentence for each class that is not in every split, with the number of masks that hold it."""
    notes = []
    masks = Counter(
        {name: sum(int((rows[:, i] > 0).sum()) for rows in found.values()) for i, name in enumerate(classes)}
    )
    for index, name in enumerate(classes):
        without = [split for split, rows in found.items() if not rows[:, index].any()]
        if without and not masks[name]:
            notes.append(f"class '{name}' has no pixel in any mask")
        elif without:
            held = f"{masks[name]} mask{'s' * (masks[name] != 1)}"
            notes.append(f"class '{name}' is in {held} only and missing in {' and '.join(without)}")
    return notes


def _by_class(classes: Sequence[str], values: IntArray) -> dict[str, int]:
    return dict(zip(classes, values.tolist(), strict=True))
