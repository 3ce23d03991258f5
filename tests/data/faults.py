"""One of each fault that a data set can have, planted into a good one of eight pictures."""

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .conftest import YAML, draw_mask, paint

_ORIENTATION = 0x0112


class Plot:
    """A data set into which pairs are planted.

    Args:
        root: its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seed = 1000

    def image(self, name: str, split: str = "train") -> Path:
        return self.root / "images" / split / name

    def mask(self, name: str, split: str = "train") -> Path:
        return self.root / "masks" / split / name

    def pair(self, stem: str, split: str = "train") -> tuple[Path, Path]:
        """A good pair of its own."""
        self._seed += 1
        drawn = draw_mask(self._seed, (48, 64))
        noise = np.random.default_rng(self._seed).integers(0, 9, (48, 64, 3))
        image, mask = self.image(f"{stem}.png", split), self.mask(f"{stem}.png", split)
        Image.fromarray((paint(drawn) // 2 + noise).astype(np.uint8)).save(image)
        Image.fromarray(drawn).save(mask)
        return image, mask

    def write_yaml(self, text: str = YAML, more: str = "") -> None:
        """The data.yaml: classes sky, road and car unless ``text`` says otherwise."""
        (self.root / "data.yaml").write_text(text + more, encoding="utf-8")

    def repaint(self, values: Mapping[int, int], split: str = "*") -> None:
        """Replace values in the masks of a split, or of all."""
        table = np.arange(256, dtype=np.uint8)
        table[list(values)] = list(values.values())
        for path in (self.root / "masks").glob(f"{split}/*.png"):
            Image.fromarray(table[np.asarray(Image.open(path))]).save(path)

    def mask_of(self, stem: str, pixels: NDArray[np.generic]) -> Path:
        """A pair with this mask."""
        _, mask = self.pair(stem)
        Image.fromarray(pixels).save(mask)
        return mask


def smooth(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask as a drawing program with smooth edges would save it."""
    picture = Image.fromarray(mask)
    return np.asarray(picture.resize((171, 129), Image.Resampling.BILINEAR).resize((64, 48), Image.Resampling.BILINEAR))


def blob(value: int, background: int = 0) -> NDArray[np.uint8]:
    """A slanted shape."""
    rows, columns = np.mgrid[:48, :64]
    return np.where(np.abs(rows - 24) + np.abs(columns - 30) // 2 < 17, value, background).astype(np.uint8)


def _truncated(plot: Plot) -> Path:
    image, _ = plot.pair("truncated")
    image.write_bytes(image.read_bytes()[:-70])
    return image


def _truncated_jpeg(plot: Plot) -> Path:
    image, _ = plot.pair("truncated_jpeg")
    picture = Image.open(image)
    picture.save(plot.image("truncated_jpeg.jpg"), quality=95)
    image.unlink()
    image = plot.image("truncated_jpeg.jpg")
    image.write_bytes(image.read_bytes()[:-300])
    return image


def _text(plot: Plot) -> Path:
    image, _ = plot.pair("text")
    image.unlink()
    plot.image("text.jpg").write_text("not a picture at all")
    return plot.image("text.jpg")


def _wrong_type(plot: Plot) -> Path:
    image, _ = plot.pair("wrong_type")
    return image.rename(image.with_suffix(".jpg"))


def _bad_checksum(plot: Plot) -> Path:
    _, mask = plot.pair("bad_checksum")
    content = bytearray(mask.read_bytes())
    content[content.index(b"IDAT") + 30] ^= 1
    mask.write_bytes(content)
    return mask


def _empty(plot: Plot) -> Path:
    image, _ = plot.pair("empty")
    image.write_bytes(b"")
    return image


def _broken_link(plot: Plot) -> Path:
    image, _ = plot.pair("broken_link")
    image.unlink()
    image.symlink_to("nowhere.png")
    return image


def _link_loop(plot: Plot) -> Path:
    _, mask = plot.pair("link_loop")
    mask.unlink()
    mask.symlink_to(mask.name)
    return mask


def _pipe(plot: Plot) -> Path:
    image, _ = plot.pair("pipe")
    image.unlink()
    os.mkfifo(image)
    return image


def _missing_mask(plot: Plot) -> Path:
    image, mask = plot.pair("missing_mask")
    mask.unlink()
    return image


def _missing_picture(plot: Plot) -> Path:
    image, mask = plot.pair("missing_picture")
    image.unlink()
    return mask


def _size(plot: Plot) -> Path:
    return plot.mask_of("size", np.zeros((24, 32), np.uint8))


def _oriented(plot: Plot, stem: str, orientation: int) -> tuple[Path, Path]:
    image, mask = plot.pair(stem)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    with Image.open(image) as picture:
        picture.load()
        picture.save(image, exif=exif)
    return image, mask


def _bomb(plot: Plot) -> Path:
    """A PNG whose header promises 50,000 x 50,000 pixels."""
    image, _ = plot.pair("bomb")
    content = bytearray(image.read_bytes())
    content[16:24] = (50_000).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    image.write_bytes(content)
    return image


def _photograph(plot: Plot) -> Path:
    return plot.mask_of("photograph", np.random.default_rng(5).integers(0, 256, (48, 64)).astype(np.uint8))


def _jpeg_mask(plot: Plot) -> Path:
    _, mask = plot.pair("jpeg_mask")
    mask.unlink()
    Image.fromarray(blob(2)).save(plot.mask("jpeg_mask.jpg"))
    return plot.mask("jpeg_mask.jpg")


def _twins(plot: Plot) -> Path:
    image, _ = plot.pair("twins")
    with Image.open(image) as picture:
        picture.save(image.with_suffix(".webp"), lossless=True)
    return image.with_suffix(".webp")


def _case(plot: Plot) -> Path:
    plot.pair("Case")
    return plot.pair("case")[0]


def _frames(plot: Plot) -> Path:
    image, _ = plot.pair("frames")
    image.unlink()
    first, second = (Image.new("RGB", (64, 48), (value, 9, 9)) for value in (7, 8))
    first.save(plot.image("frames.tif"), save_all=True, append_images=[second])
    return plot.image("frames.tif")


def _not_finite(plot: Plot) -> Path:
    image, _ = plot.pair("not_finite")
    image.unlink()
    values = np.zeros((48, 64), np.float32)
    values[3, 4:9] = np.nan
    Image.fromarray(values).save(plot.image("not_finite.tif"))
    return plot.image("not_finite.tif")


def _sixteen_bits(plot: Plot) -> Path:
    image, _ = plot.pair("sixteen_bits")
    Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)).save(image)
    return image


def _grey(plot: Plot) -> Path:
    image, _ = plot.pair("grey")
    Image.open(image).convert("L").save(image)
    return image


def _alpha(plot: Plot) -> Path:
    image, _ = plot.pair("alpha")
    Image.open(image).convert("RGBA").save(image)
    return image


def _leak(plot: Plot) -> Path:
    image, _ = plot.pair("leak")
    other, _ = plot.pair("leaked", "val")
    other.write_bytes(image.read_bytes())
    return other


def _repeated(plot: Plot) -> Path:
    image, _ = plot.pair("repeated_1")
    other, _ = plot.pair("repeated_2")
    other.write_bytes(image.read_bytes())
    return other


def _photograph_of_a_phone(plot: Plot) -> Path:
    plot.image("IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    return plot.image("IMG_1.heic")


def _composed_names(plot: Plot) -> Path:
    image, mask = plot.pair("cafe")
    image.rename(plot.image("caf\u00e9.png"))
    return mask.rename(plot.mask("cafe\u0301.png"))


FAULTS: dict[str, tuple[str, Callable[[Plot], Path]]] = {
    "a PNG without its end": ("unreadable-picture", _truncated),
    "a JPEG without its end": ("unreadable-picture", _truncated_jpeg),
    "text": ("unreadable-picture", _text),
    "a PNG called .jpg": ("wrong-suffix", _wrong_type),
    "a wrong checksum": ("unreadable-mask", _bad_checksum),
    "no byte": ("unreadable-picture", _empty),
    "a link to nowhere": ("unreadable-picture", _broken_link),
    "a link to itself": ("unreadable-mask", _link_loop),
    "a named pipe": ("unreadable-picture", _pipe),
    "no mask": ("missing-mask", _missing_mask),
    "no picture": ("missing-picture", _missing_picture),
    "another size": ("size-mismatch", _size),
    "a mask of the stored picture": ("orientation-mismatch", lambda plot: _oriented(plot, "turned", 6)[1]),
    "a picture upside down": ("orientation", lambda plot: _oriented(plot, "upside_down", 3)[0]),
    "a bomb": ("too-large", _bomb),
    "an unknown id": ("unknown-value", lambda plot: plot.mask_of("unknown", blob(77))),
    "a JPEG mask": ("lossy-mask", _jpeg_mask),
    "smooth edges": ("smeared-mask", lambda plot: plot.mask_of("smooth", smooth(blob(200, 2)))),
    "a photograph for a mask": ("smeared-mask", _photograph),
    "black and white": ("binary-mask", lambda plot: plot.mask_of("binary", blob(255))),
    "colours": ("colour-mask", lambda plot: plot.mask_of("colours", paint(blob(2)))),
    "nothing labelled": ("all-ignored", lambda plot: plot.mask_of("ignored", np.full((48, 64), 255, np.uint8))),
    "two pictures of a stem": ("duplicate-stem", _twins),
    "names of one case": ("case-collision", _case),
    "several frames": ("several-frames", _frames),
    "NaN": ("not-finite", _not_finite),
    "16 bits": ("mixed-bands", _sixteen_bits),
    "a grey picture": ("mixed-channels", _grey),
    "alpha": ("alpha-dropped", _alpha),
    "a picture in two splits": ("identical-picture", _leak),
    "a picture twice": ("repeated-picture", _repeated),
    "a type that is not read": ("file-not-read", _photograph_of_a_phone),
    "names composed in two ways": ("missing-picture", _composed_names),
}
"""What is planted -> the code of its problem, and what plants it and gives the file at fault."""
