"""Files with flipped bytes and cut ends: a problem or none, never a traceback."""

import io
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segwright.data import Labels
from segwright.data.checks.files import Limits
from segwright.data.checks.mask_files import MaskFiles
from segwright.data.checks.pairs import Job, PairChecker
from segwright.data.checks.pictures import read_picture
from segwright.data.checks.problem import BadFileError

from ..faults import Plot, blob

LIMITS = Limits(10**6)
KINDS = ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP")


def encoded(kind: str, *, is_mask: bool, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 200, (48, 64, 3)).astype(np.uint8)
    picture, buffer = Image.fromarray(blob(2) if is_mask else noise), io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" and is_mask else {}
    picture.save(buffer, kind, **lossless, **options)
    return buffer.getvalue()


FILES = {(kind, is_mask): encoded(kind, is_mask=is_mask) for kind in KINDS for is_mask in (False, True)}
FILES["deflated", True] = encoded("TIFF", is_mask=True, compression="tiff_adobe_deflate")
FILES["progressive", False] = encoded("JPEG", is_mask=False, progressive=True)


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_never_raise_anything_but_their_fault(data: st.DataObject) -> None:
    kind, is_mask = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[kind, is_mask])
    # Heads are short and matter most.
    place = st.one_of(st.integers(0, min(80, len(content) - 1)), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(place)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(content)), place))
    damaged = bytes(content[:cut])
    try:
        if is_mask:
            MaskFiles(LIMITS).read(damaged, "mask.png")
        else:
            read_picture(damaged, "picture.png", LIMITS)
    except BadFileError as fault:
        assert fault.message
        assert fault.fix


def test_pairs_of_damaged_files_are_checked_to_the_end(plot: Plot) -> None:
    rng = random.Random(0)
    jobs = []
    for index in range(60):
        image, mask = plot.pair(f"damaged_{index}")
        for path in (image, mask):
            content = bytearray(FILES[rng.choice(KINDS), path == mask])
            for _ in range(rng.randrange(6)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            path.write_bytes(content[: rng.randrange(1, len(content))] if rng.random() < 0.3 else content)
        jobs.append(Job("train", str(image), str(mask)))
    found = PairChecker(Labels(("sky", "road", "car")), LIMITS).check(jobs)
    assert len(found.problems) == 60
    assert sum(bool(problems) for problems in found.problems) > 20


@pytest.mark.parametrize("options", [{"quality": 85}, {"progressive": True}, {"quality": 95, "subsampling": 0}])
def test_a_jpeg_at_an_eighth_of_its_size_shows_the_same_truncations(options: dict[str, object]) -> None:
    content = encoded("JPEG", is_mask=False, **options)
    for cut in (*range(len(content) - 5, len(content)), *range(30, len(content), 97)):
        try:
            Image.open(io.BytesIO(content[:cut])).load()
        except Exception:
            with pytest.raises(BadFileError):
                read_picture(content[:cut], "picture.jpg", LIMITS)
        else:
            assert read_picture(content[:cut], "picture.jpg", LIMITS).size == (48, 64)


def test_a_wrong_checksum_of_pixels_is_found_which_pillow_leaves_out() -> None:
    content = bytearray(FILES["PNG", False])
    content[-13] ^= 1  # the last byte before the 12 of the chunk IEND
    Image.open(io.BytesIO(content)).load()
    with pytest.raises(BadFileError, match=r"the checksum \(CRC\) of the chunk 'IDAT' at byte 33 is wrong"):
        read_picture(bytes(content), "a.png", LIMITS)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"  <HTML>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"\0\0\0\x18ftypheic\0\0", "a HEIC photograph"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript document"),
        (b"\0" * 500, "it holds zeros alone"),
        (b"hello there", "a text that begins with 'hello there'"),
        (b"\x07\xfe\x99\x80 whatever", "of no type that is read"),
    ],
)
def test_a_file_that_is_no_picture_is_told_by_what_it_is(content: bytes, kind: str) -> None:
    with pytest.raises(BadFileError, match=f"picture 'a.jpg' is not an image: {kind}") as caught:
        read_picture(content, "a.jpg", LIMITS)
    assert caught.value.code == "unreadable-picture"
