"""Street scenes as a data set on disk: pictures, masks and data.yaml."""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from segwright.data.synthetic.classes import CLASSES, IGNORE_INDEX, PALETTE
from segwright.data.synthetic.scene import draw_scene
from segwright.errors import ConfigError, DataError, RunError
from segwright.runtime.folders import new_folder

COUNTS: Mapping[str, int] = {"train": 120, "val": 24, "test": 24}
JPEG_QUALITY = 92
_SEEDS_APART = 1_000_003  # between two data sets; far more than anybody draws in one


def write_dataset(
    folder: Path,
    *,
    counts: Mapping[str, int] = COUNTS,
    size: tuple[int, int] = (360, 480),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw street scenes and write them as a data set; all or nothing is written.

    Args:
        folder: a new or empty folder. It gets ``images/{split}/scene_0000.jpg``, ``masks/{split}/scene_0000.png``
            (index PNGs with a palette) and ``data.yaml``.
        counts: number of scenes per split; no scene occurs in two splits.
        size: (height, width) of the pictures in pixels.
        seed: 0 or above; the same seed, counts and size give the same data set.
        progress: called after each scene with the number of scenes written so far.

    Returns:
        ``folder``.

    Raises:
        ConfigError: a negative seed or count, no scene at all, or a split's name that is no folder's name.
        DataError: ``folder`` holds something already or is a file.
        RunError: the operating system refused to write (disk full, no permission).
        ShapeError: a size too small to hold a street.
        Interrupted: SIGTERM or SIGHUP; nothing is written.
    """
    folder = Path(folder)
    _check(folder, counts)
    try:
        with new_folder(folder) as temporary:
            _write_scenes(temporary, counts, size, seed, progress)
            (temporary / "data.yaml").write_text(_data_yaml(counts), encoding="utf-8")
    except OSError as reason:
        raise RunError(
            f"could not write '{folder}': {reason.strerror or reason}",
            fix="give a folder in which you may write, on a disk with space",
        ) from reason
    return folder


def _check(folder: Path, counts: Mapping[str, int]) -> None:
    for split, count in counts.items():
        if not split.isidentifier():
            raise ConfigError(f"'{split}' cannot name a split", fix="use letters, digits and underscores")
        if count < 0:
            raise ConfigError(f"split '{split}' is to have {count} scenes", fix="give 0 or above")
    if not any(counts.values()):
        raise ConfigError("a data set is to have no scene at all", fix="give at least one split a scene")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise DataError(f"'{folder}' holds something already", fix="give a new or empty folder")


def _write_scenes(
    folder: Path, counts: Mapping[str, int], size: tuple[int, int], seed: int, progress: Callable[[int], None] | None
) -> None:
    colours = [value for colour in PALETTE for value in colour]
    colours += [0] * (3 * 256 - len(colours))  # a shorter palette makes Pillow store fewer bits, and 255 is lost
    done = 0
    for split, count in counts.items():
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            image, mask = draw_scene(seed * _SEEDS_APART + done, size)
            Image.fromarray(image).save(folder / "images" / split / f"scene_{index:04d}.jpg", quality=JPEG_QUALITY)
            labels = Image.fromarray(mask)
            labels.putpalette(colours)
            labels.save(folder / "masks" / split / f"scene_{index:04d}.png")
            done += 1
            if progress:
                progress(done)


def _data_yaml(counts: Mapping[str, int]) -> str:
    names = ", ".join(f"{index}: {name}" for index, name in enumerate(CLASSES))
    colours = "".join(f"  {name}: {list(colour)}\n" for name, colour in zip(CLASSES, PALETTE, strict=True))
    splits = "".join(f"{split}: {{images: images/{split}, masks: masks/{split}}}\n" for split in counts)
    return f"path: .\n{splits}classes: {{{names}}}\npalette:\n{colours}ignore: [{IGNORE_INDEX}]\n"
