"""Picture and mask together: scale, crop, flip, colour; each sample from its own random numbers.

The window is cut first and resized after, so that no pixel outside the crop is ever resized, and a JPEG that will be
shrunk is decoded at half, quarter or eighth size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from torch import Tensor
from torch.nn import functional as F

from segwright.data.decoded import DecodedFiles
from segwright.data.masks import MaskReader, read_raw_mask
from segwright.errors import DataError
from segwright.runtime.bands import BandArray, read_bands
from segwright.runtime.images import opened_picture, refuse_greater_depth
from segwright.types import Sample

UInt8Array = NDArray[np.uint8]

EXIF_ORIENTATION = 274
"""Tag of the orientation in a picture's EXIF data; 5 to 8 swap height and width."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G, B in a picture's grey value (ITU-R BT.601)."""


@dataclass(frozen=True)
class Augmentation:
    """How training samples are drawn.

    Args:
        crop_size: (height, width) of what the network sees.
        scale: range of the random scale; 0.5 to 2 in most papers. Equal ends switch it off.
        short_side: length of a picture's shorter side at scale 1, in pixels; ``None`` for its own.
        flip: probability of a horizontal flip.
        brightness, contrast, saturation: largest relative change, 0..1.
        channel_noise: largest relative change of each colour channel on its own, 0..1.
        rare_class_crops: share of the crops that show a pixel of a class drawn by ``class_weights``.
        class_weights: how often each class is to be shown by those crops, among the classes of one picture.
        fill: colour beyond the picture's edge, in stored values; the mask is ignored there.
        bands: that are read as they are stored; ``None`` for 8-bit RGB.
        highest: value that a changed one may have, as none is below 0; ``None`` for floating-point pictures.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    short_side: int | None = None
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    channel_noise: float = 0.0
    rare_class_crops: float = 0.0
    class_weights: tuple[float, ...] = ()
    fill: tuple[float, ...] = (124, 116, 104)
    bands: int | None = None
    highest: float | None = 255.0


class Window(NamedTuple):
    """A box of the picture, and the size it is resized to."""

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int

    def reduced(self, divisor: int, size: tuple[int, int]) -> "Window":
        """The same box, moved to whole pixels, in a picture of ``size`` that was decoded ``divisor`` times as small."""
        top, left = min(round(self.top / divisor), size[0] - 1), min(round(self.left / divisor), size[1] - 1)
        height, width = (max(1, round(value / divisor)) for value in (self.height, self.width))
        return self._replace(top=top, left=left, height=min(height, size[0] - top), width=min(width, size[1] - left))

    def enlarged(self, factor: int) -> "Window":
        """The box in a picture that is ``factor`` times as large; the size it is resized to stays."""
        top, left, height, width = (factor * value for value in (self.top, self.left, self.height, self.width))
        return self._replace(top=top, left=left, height=height, width=width)


def draw_window(
    rng: np.random.Generator,
    size: tuple[int, int],
    augmentation: Augmentation,
    shown: tuple[int, int] | None = None,
) -> Window:
    """A random scale and place: the box of the picture that the crop will show.

    Args:
        rng: the sample's own generator.
        size: (height, width) of the picture.
        augmentation: crop size and scale range.
        shown: row and column of a pixel that the box must hold.
    """
    scale = rng.uniform(*augmentation.scale)
    if augmentation.short_side is not None:
        scale *= augmentation.short_side / min(size)
    box: list[tuple[int, int, int]] = []
    for side, crop, place in zip(size, augmentation.crop_size, shown or (None, None), strict=True):
        seen = max(1, min(side, round(crop / scale)))
        first, last = 0, side - seen
        if place is not None:
            first, last = max(first, place - seen + 1), min(last, place)
        start = int(rng.integers(first, last + 1))
        box.append((start, seen, crop if seen < side else min(crop, max(1, round(side * scale)))))
    (top, height, out_height), (left, width, out_width) = box
    return Window(top, left, height, width, out_height, out_width)


def training_sample(
    image_path: Path,
    mask_path: Path,
    reader: MaskReader,
    augmentation: Augmentation,
    rng: np.random.Generator,
    decoded: DecodedFiles | None = None,
) -> Sample:
    """Read one pair and draw one training sample from it.

    Args:
        image_path, mask_path: the pair.
        reader: of the data set's masks.
        augmentation: what to draw.
        rng: the sample's own generator; equal generators give equal samples.
        decoded: files that were decoded before; the sample is the same with and without.

    Returns:
        image (channels, *crop_size), uint8 where the picture is and else float32, in stored values; mask (*crop_size)
        uint8 or int32.

    Raises:
        DataError: a file that cannot be read, sizes that differ, or a mask value that means nothing.
    """
    decoded = decoded or DecodedFiles()
    raw = decoded.get(mask_path, lambda: read_raw_mask(mask_path))
    shown = None
    if augmentation.rare_class_crops and rng.random() < augmentation.rare_class_crops:
        shown = draw_pixel(rng, reader.decode(raw, mask_path, whole=raw), augmentation.class_weights)

    def draw(size: tuple[int, int]) -> Window:
        return draw_window(rng, size, augmentation, shown if raw.shape[:2] == size else None)

    image, window, size = (read_rgb if augmentation.bands is None else read_stored)(
        image_path, draw, augmentation.bands or 3, decoded
    )
    if raw.shape[:2] != size:
        raise sizes_differ(image_path, size, mask_path, raw.shape[:2])
    rows, columns = nearest_positions(window, size)
    window_values = raw[rows].take(columns, axis=1)  # five times as fast as one index of both
    mask = reader.decode(window_values, mask_path, whole=raw)
    if rng.random() < augmentation.flip:
        image, mask = image.flip(-1), mask[:, ::-1].copy()
    image = jitter_colour(image, rng, augmentation)
    return pad_sample(image, mask, reader.labels.ignore_index, augmentation, str(image_path), rng)


def draw_pixel(
    rng: np.random.Generator, labels: NDArray[np.integer], weights: tuple[float, ...]
) -> tuple[int, int] | None:
    """Row and column of a pixel of a class that is drawn by its weight among the mask's; None where it has none."""
    present = [int(value) for value in np.unique(labels) if value < len(weights) and weights[value] > 0]
    if not present:
        return None
    shares = np.array([weights[value] for value in present])
    chosen = rng.choice(present, p=shares / shares.sum())
    places = np.flatnonzero(labels == chosen)
    row, column = divmod(int(places[rng.integers(len(places))]), labels.shape[1])
    return row, column


def read_rgb(
    path: Path, draw: Callable[[tuple[int, int]], Window], bands: int, decoded: DecodedFiles
) -> tuple[Tensor, Window, tuple[int, int]]:
    """A window of a picture as 8-bit RGB.

    Args:
        path: the picture.
        draw: (height, width) of a picture -> window.
        bands: 3.
        decoded: as :func:`training_sample`.

    Returns:
        (3, out_height, out_width) uint8, the window that it shows, and the picture's (height, width).

    Raises:
        DataError: it cannot be read, or has more than 8 bits.
    """
    try:
        with opened_picture(path, f"picture '{path}'") as picture:
            refuse_greater_depth(picture, f"picture '{path}'")
            size = shown_size(picture)
            image, window = read_window(picture, draw(size), decoded)
            return image, window, size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as reason:
        raise unreadable_picture(path, reason) from reason


def read_stored(
    path: Path, draw: Callable[[tuple[int, int]], Window], bands: int, decoded: DecodedFiles
) -> tuple[Tensor, Window, tuple[int, int]]:
    """As :func:`read_rgb`, of a picture of so many bands as they are stored."""
    pixels = decoded.get(path, lambda: read_bands(path, bands))
    size = (pixels.shape[0], pixels.shape[1])
    box = draw(size)
    cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return resize_pixels(cut, (box.out_height, box.out_width)), box, size


def shown_size(picture: Image.Image) -> tuple[int, int]:
    """(height, width) of a picture as it is shown: its EXIF orientation applied."""
    height, width = picture.height, picture.width
    return (width, height) if picture.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8) else (height, width)


def read_window(picture: ImageFile.ImageFile, window: Window, decoded: DecodedFiles) -> tuple[Tensor, Window]:
    """Decode as little as the window needs, cut it out, and resize it bilinearly.

    Args:
        picture: an opened, not yet decoded picture.
        window: in the coordinates of the picture as shown.
        decoded: pictures that were decoded in full before.

    Returns:
        (3, out_height, out_width) uint8, and the window that it shows: a picture decoded at a smaller size can only be
        cut at multiples of the divisor.
    """
    divisor = draft(picture, min(window.height / window.out_height, window.width / window.out_width))

    def pixels_as_shown() -> UInt8Array:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))

    # Whether a picture is decoded in full depends on the sample alone, not on what happens to be in memory.
    pixels = pixels_as_shown() if divisor > 1 else decoded.get(Path(str(picture.filename)), pixels_as_shown)
    box = window.reduced(divisor, pixels.shape[:2]) if divisor > 1 else window
    cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return resize_pixels(cut, (window.out_height, window.out_width)), box.enlarged(divisor)


def draft(picture: Image.Image, shrink: float) -> int:
    """Ask a JPEG's decoder for half, quarter or eighth size, as far as ``shrink`` allows.

    Returns:
        what the decoder divides the size by; 1 where it decodes in full.
    """
    full, divisor = picture.size, max((d for d in (2, 4, 8) if d <= shrink), default=1)
    # A turned picture whose size the divisor does not divide would begin with the broken block at its end.
    is_turned = picture.getexif().get(EXIF_ORIENTATION, 1) != 1
    if picture.format != "JPEG" or (is_turned and any(side % divisor for side in full)):
        return 1
    picture.draft("RGB", (full[0] // divisor, full[1] // divisor))
    return divisor if picture.size != full else 1


def resize_pixels(pixels: BandArray, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (H, W, channels) to a (channels, *size) tensor (channels last in memory).

    Of uint8 it stays uint8; all else becomes float32, in which torch computes and 16 bits are exact.
    """
    # The copy puts the window's rows side by side, which makes the resize two to three times as fast.
    copied = pixels.copy() if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    image = torch.from_numpy(copied).permute(2, 0, 1)[None]
    if image.shape[-2:] == torch.Size(size):
        return image[0]
    return F.interpolate(image, size=size, mode="bilinear")[0]


def nearest_positions(window: Window, size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of a mask of ``size`` that the window's resized pixels show: nearest, at pixel centres."""
    rows = window.top + (np.arange(window.out_height) + 0.5) * (window.height / window.out_height)
    columns = window.left + (np.arange(window.out_width) + 0.5) * (window.width / window.out_width)
    return rows.astype(np.intp).clip(max=size[0] - 1), columns.astype(np.intp).clip(max=size[1] - 1)


def jitter_colour(image: Tensor, rng: np.random.Generator, augmentation: Augmentation) -> Tensor:
    """Brightness, contrast, saturation and channel noise as one affine map of the colours.

    Of bands that are no RGB, grey is their mean, and saturation stays. Always draws the same number of random values,
    so that samples do not depend on which changes are on.
    """
    limits = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    brightness, contrast, saturation = (rng.uniform(1 - limit, 1 + limit) for limit in limits)
    count = image.shape[0]
    channels = rng.uniform(1 - augmentation.channel_noise, 1 + augmentation.channel_noise, size=count)
    if not any((*limits, augmentation.channel_noise)):
        return image
    is_rgb = augmentation.bands is None
    saturation = saturation if is_rgb else 1.0
    gain = torch.from_numpy((channels * brightness * contrast).astype(np.float32))
    pixels = image.permute(1, 2, 0).reshape(-1, count).to(torch.float32, copy=True)
    grey = pixels.mv(torch.from_numpy(LUMA)) if is_rgb else pixels.mean(dim=1)
    offset = float(grey.mean()) * brightness * (1 - contrast)
    # A blend with the pixel's own grey (saturation), then gains per channel, then towards the picture's mean grey.
    moved = pixels.mul_(saturation).add_(grey.mul_(1 - saturation)[:, None]).mul_(gain).add_(offset)
    if augmentation.highest is not None:
        moved = moved.clamp_(0, augmentation.highest)
    if image.dtype == torch.uint8:
        moved = moved.round_().to(torch.uint8)
    return moved.reshape(image.shape[1], image.shape[2], count).permute(2, 0, 1)


def pad_sample(
    image: Tensor,
    mask: NDArray[np.integer],
    ignore_index: int,
    augmentation: Augmentation,
    name: str,
    rng: np.random.Generator,
) -> Sample:
    """Place a picture that is smaller than the crop at random in it; ``fill`` and ``ignore_index`` around."""
    height, width = augmentation.crop_size
    labels = torch.from_numpy(np.ascontiguousarray(mask.astype(np.int32) if mask.dtype == np.uint16 else mask))
    top, left = (int(rng.integers(0, crop - side + 1)) for crop, side in zip((height, width), mask.shape, strict=True))
    if mask.shape == (height, width):
        return Sample(image, labels, name)
    canvas = torch.tensor(augmentation.fill, dtype=image.dtype)[:, None, None].repeat(1, height, width)
    ground = torch.full((height, width), ignore_index, dtype=labels.dtype)
    canvas[:, top : top + mask.shape[0], left : left + mask.shape[1]] = image
    ground[top : top + mask.shape[0], left : left + mask.shape[1]] = labels
    return Sample(canvas, ground, name)


def unreadable_picture(path: Path, reason: Exception) -> DataError:
    """The error for a picture file that is missing, truncated or no picture."""
    return DataError(f"picture '{path}' cannot be read ({reason})", fix="copy the file again or remove the pair")


def sizes_differ(image_path: Path, image_size: tuple[int, int], mask_path: Path, size: tuple[int, ...]) -> DataError:
    """The error for a picture and a mask of different size; sizes are (height, width)."""
    return DataError(
        f"mask '{mask_path}' is {size[1]}x{size[0]} (width x height), "
        f"its picture '{image_path}' is {image_size[1]}x{image_size[0]}",
        fix="export the mask at the picture's size (resize masks with nearest only)",
    )
