"""The formats that are read, and which of them a data set is in."""

import contextlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from segwright.data.dataset import read_data_yaml
from segwright.data.formats import (
    ade20k,
    camvid,
    cityscapes,
    coco,
    coco_panoptic,
    coco_stuff,
    colour,
    cvat,
    index,
    label_studio,
    labelme,
    levels,
    mat,
    pascal_context,
    supervisely,
    voc,
    yolo,
)
from segwright.data.formats.files import refuse_bad_json
from segwright.data.formats.reading import Options, Reading
from segwright.errors import ConfigError, DataError, did_you_mean


class Format(NamedTuple):
    """A way to write down labels.

    Args:
        detect: what in a folder or file speaks for the format, in half a sentence; ``None`` for nothing.
        read: the data set in it; what it finds wrong it raises as ``DataError``.
        takes: which options say something to it, besides those that all formats take.
    """

    detect: Callable[[Path, Options], str | None]
    read: Callable[[Path, Options], Reading]
    takes: tuple[str, ...]

    @property
    def draws_shapes(self) -> bool:
        """Whether masks are drawn from outlines, so that one may lie on another, and not read from files."""
        return "overlap" in self.takes


_ALL = ("ignore_outside", "max_pixels", "max_bytes")
_SHAPES = ("classes", "ignore", "background", "overlap")
_MASKS = ("classes", "palette", "ignore")

FORMATS = {
    "voc": Format(voc.detect, voc.read, _MASKS),
    "coco": Format(coco.detect, coco.read, _SHAPES),
    "coco_panoptic": Format(coco_panoptic.detect, coco_panoptic.read, ("ignore",)),
    "labelme": Format(labelme.detect, labelme.read, _SHAPES),
    "yolo": Format(yolo.detect, yolo.read, _SHAPES),
    "cvat": Format(cvat.detect, cvat.read, _SHAPES),
    "supervisely": Format(supervisely.detect, supervisely.read, _SHAPES),
    "label_studio": Format(label_studio.detect, label_studio.read, _SHAPES),
    "cityscapes": Format(cityscapes.detect, cityscapes.read, ("coarse",)),
    "ade20k": Format(ade20k.detect, ade20k.read, ("ignore",)),
    "pascal_context": Format(pascal_context.detect, pascal_context.read, ("ignore",)),
    "coco_stuff": Format(coco_stuff.detect, coco_stuff.read, ("ignore",)),
    "camvid": Format(camvid.detect, camvid.read, ()),
    "mat": Format(mat.detect, mat.read, _MASKS),
    "levels": Format(levels.detect, levels.read, ("levels", *_MASKS)),
    "colour": Format(colour.detect, colour.read, ("palette", "ignore")),
    "index": Format(index.detect, index.read, _MASKS),
}
"""By name for ``--from``; those of ``_MASK_FILES`` are asked where no other fits."""

_MASK_FILES = ("levels", "colour", "index")
"""Any pictures with mask files; the others know their own folders and files."""

_KNOWN_BY_FOLDERS = tuple(name for name in FORMATS if name not in _MASK_FILES)


def read_source(source: Path, name: str, options: Options) -> tuple[str, Reading]:
    """Read a data set in a format, or in the only one that fits.

    Args:
        source: folder or label file.
        name: of the format, or ``"auto"``.
        options: of the user.

    Returns:
        Name of the format and the data set.

    Raises:
        ConfigError: an unknown format, an option that says nothing to it; with ``"auto"`` none that fits, or several.
        DataError: what the format's reader finds wrong.
    """
    if name == "auto":
        name = choose(source, options)
    if name not in FORMATS:
        raise ConfigError(
            f"unknown format '{name}'{did_you_mean(name, FORMATS)}", fix=f"choose one of: auto, {', '.join(FORMATS)}"
        )
    _refuse_unused(name, options)
    return name, FORMATS[name].read(source, options)


def _refuse_unused(name: str, options: Options) -> None:
    takes = (*FORMATS[name].takes, *_ALL)
    for option in fields(options):
        if option.name not in takes and getattr(options, option.name) != option.default:
            raise ConfigError(
                f"--{option.name.replace('_', '-')} says nothing to the format '{name}'",
                fix=f"leave it out; {name} takes {', '.join('--' + word.replace('_', '-') for word in takes)}",
            )


def choose(source: Path, options: Options) -> str:
    """The only format that fits.

    Raises:
        ConfigError: none, or several.
        DataError: masks that have no pictures, or the other way round; none, and a JSON file that cannot be read.
    """
    _refuse_own_layout(source)
    for names in (_KNOWN_BY_FOLDERS, _MASK_FILES):
        evidence = {name: found for name in names if (found := FORMATS[name].detect(source, options))}
        if len(evidence) > 1:
            readings = "; ".join(f"{name} ({found})" for name, found in evidence.items())
            raise ConfigError(
                f"'{source}' can be read in {len(evidence)} ways: {readings}",
                fix=f"say which with --from {' or --from '.join(evidence)}",
            )
        if evidence:
            return next(iter(evidence))
    refuse_bad_json(source, (), options.max_bytes)
    raise ConfigError(
        f"'{source}' is in no format that is recognised",
        fix="call folders of pictures and masks 'images' and 'masks', or say what it is, to hear what is missing: "
        f"--from {'|'.join(FORMATS)}",
    )


def evidence_of(source: Path, options: Options, *, with_mask_files: bool) -> dict[str, str]:
    """What speaks for each format that a data set could be in; mask files count, if at all, where nothing else does."""
    for names in (_KNOWN_BY_FOLDERS, _MASK_FILES if with_mask_files else ()):
        evidence = {}
        for name in names:
            with contextlib.suppress(DataError, OSError):  # the reader would say so; here the question is which
                if found := FORMATS[name].detect(source, options):
                    evidence[name] = found
        if evidence:
            return evidence
    return {}


def _refuse_own_layout(source: Path) -> None:
    try:
        read_data_yaml(source / "data.yaml")
    except DataError:
        return
    raise ConfigError(
        f"'{source}' has a data.yaml of segwright's own already", fix=f"use it as it is: segwright data check {source}"
    )
