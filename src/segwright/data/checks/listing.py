"""The files of a split by their names: pairs, files without a partner, and names that stand for two files."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segwright.data.checks.pairs import Job
from segwright.data.checks.problem import Problem, count_of, error, some, warning
from segwright.data.dataset import IMAGE_SUFFIXES, MASK_SUFFIXES, SegmentationData, no_picture, same_stem
from segwright.data.endings import how_masks_end
from segwright.errors import DataError
from segwright.runtime.images import ARRAY_SUFFIXES
from segwright.runtime.listing import unreadable_folder, walk

_OTHER_PICTURES = re.compile(
    r"\.(heic|heif|avif|jxl|jp2|j2k|jfif|jpe|gif|tiff?|p[pgbn]m|tga|psd|exr|hdr|dng|cr[23]|nef|arw|np[yz]|mat|svg|pdf|eps"
    r"|dcm|nii|fits)"
)
"""Suffixes of what may be meant to count: such files, where they are not read, are not left out in silence."""


class _Listing(NamedTuple):
    """The files of a folder by their path without suffix, and what else is in it."""

    by_stem: dict[str, str]
    twins: list[tuple[str, str]]
    not_read: list[str]
    unreadable: list[OSError]


def list_split(data: SegmentationData, split: str, problems: list[Problem]) -> list[Job]:
    """The pairs and lonely files of a split; what is wrong with its folders and names goes to ``problems``."""
    folders = data.folders_of(split)
    images = _list_folder(folders.images, IMAGE_SUFFIXES, folders.stems, folders.image_ending, problems)
    masks = _list_folder(folders.masks, MASK_SUFFIXES, folders.stems, folders.mask_ending, problems)
    if images is not None and not images:
        problems.append(error("no-picture", folders.images, no_picture(folders.images)))
    pictures, partners = images or {}, masks or {}
    if images and masks is not None:
        ending = how_masks_end(pictures, partners)
        problems += _lonely(pictures, partners, "mask", folders.masks, ending)
        problems += _lonely(partners, pictures, "picture", folders.images, ending)
    return [Job(split, pictures.get(stem), partners.get(stem)) for stem in sorted(pictures.keys() | partners)]


def _list_folder(
    folder: Path, suffixes: Sequence[str], stems: frozenset[str] | None, ending: str, problems: list[Problem]
) -> dict[str, str] | None:
    """Files by stem; ``None`` where there is no such folder."""
    if not folder.is_dir():
        reason = DataError(f"folder '{folder}' does not exist", fix="mend its path in data.yaml, or add the folder")
        problems.append(error("missing-folder", folder, reason))
        return None
    what = "picture" if suffixes == IMAGE_SUFFIXES else "mask"
    found = _scan(folder, suffixes, stems, ending)
    if suffixes == IMAGE_SUFFIXES and not found.by_stem:
        found = _scan(folder, ARRAY_SUFFIXES, stems, ending)
    for refused in found.unreadable:
        problems.append(error("unreadable-folder", refused.filename, unreadable_folder(refused)))
    problems += [error("duplicate-stem", second, same_stem(Path(first), Path(second))) for first, second in found.twins]
    problems += _case_collisions(found.by_stem)
    if found.not_read:
        names = some((f"'{Path(path).name}'" for path in found.not_read), 3)
        verb = "is" if len(found.not_read) == 1 else "are"
        message = f"{count_of(len(found.not_read), 'file')} in '{folder}' {verb} not read as a {what}: {names}"
        fix = f"convert them, or move them elsewhere; {what}s are read from {', '.join(suffixes)}"
        problems.append(warning("file-not-read", found.not_read[0], message, fix, len(found.not_read)))
    return found.by_stem


def _scan(folder: Path, suffixes: Sequence[str], stems: frozenset[str] | None, ending: str) -> _Listing:
    """As :func:`segwright.data.dataset.find_files` in a fraction of its time, and what it leaves out besides."""
    root = "" if str(folder) == "." else os.path.join(folder, "")  # noqa: PTH118  strings are the point
    found = _Listing({}, [], [], [])
    names: list[str] = []
    for parent, files in walk(folder, found.unreadable.append):
        inside = parent[len(root) :] if len(parent) > len(root) else ""
        prefix = f"{inside.removeprefix('./')}{os.sep}" if inside and inside != "." else ""
        names += [prefix + name for name in files]
    for name in sorted(names):
        stem, dot, suffix = name.rpartition(".")
        suffix = dot + suffix.lower()
        if suffix not in suffixes:
            if _OTHER_PICTURES.fullmatch(suffix) and (stems is None or stem in stems):
                found.not_read.append(root + name)
            continue
        whole = stem.replace(os.sep, "/")
        stem = whole.removesuffix(ending)
        if (ending and stem == whole) or (stems is not None and stem not in stems):
            continue
        if stem in found.by_stem:
            found.twins.append((found.by_stem[stem], root + name))
        else:
            found.by_stem[stem] = root + name
    return found


def _lonely(
    files: Mapping[str, str], others: Mapping[str, str], what: str, where: Path, ending: str
) -> Iterator[Problem]:
    lonely = [stem for stem in files if stem not in others]
    alike = _by_loose_name(stem for stem in others if stem not in files) if lonely else {}
    for stem in lonely:
        path = files[stem]
        message = f"'{path}' has no {what} of the same stem in '{where}'"
        fix = f"add the {what}, or remove the file{ending}"
        if near := alike.get(_loose(stem)):
            differ = "upper and lower case"
            if _composed(near[0]) == _composed(stem):
                differ = "how accents are encoded (Unicode NFC and NFD look the same)"
            message += f"; '{others[near[0]]}' differs in {differ} alone"
            fix = f"rename one of the two to the other's name; or {fix}"
        yield Problem(f"missing-{what}", "error", path, message, fix)


def _case_collisions(files: Mapping[str, str]) -> Iterator[Problem]:
    """Names that are one file on Windows and macOS."""
    for stems in _by_loose_name(files).values():
        if len(stems) > 1:
            first, second = files[stems[0]], files[stems[1]]
            message = f"the names of '{first}' and '{second}' differ in case or in how accents are encoded alone"
            yield warning("case-collision", second, message, "rename one: on Windows and macOS they are one file")


def _by_loose_name(stems: Iterable[str]) -> dict[str, list[str]]:
    """Stems by what a file system that knows no case takes them for."""
    found = defaultdict(list)
    for stem in stems:
        found[_loose(stem)].append(stem)
    return found


def _loose(stem: str) -> str:
    return _composed(stem).casefold()


def _composed(stem: str) -> str:
    return stem if stem.isascii() else unicodedata.normalize("NFC", stem)
