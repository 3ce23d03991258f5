import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from segwright.analysis.page import bar, counted, document, legend, percent, picture, swatch, table, text

from .markup import parsed
from .pairs import CLASSES, PALETTE


def shown(markup: str) -> Image.Image:
    """The picture of an ``img``."""
    match = re.search(r'src="data:image/(jpeg|png);base64,([^"]+)"', markup)
    assert match
    return Image.open(io.BytesIO(base64.b64decode(match[2])))


def test_a_document_is_well_formed_and_needs_nothing_else() -> None:
    page = parsed(document("a & b", ["<p>one</p>", "", "<p>two</p>"]))
    assert page.text_of("title") == ["a & b"]
    assert page.text_of("p") == ["one", "two"]
    assert page.links == []
    assert "script" not in page.tags


def test_words_are_escaped_in_text_and_attributes() -> None:
    words = """<b onclick="x">'&\udcff"""
    page = parsed(f'<p title="{text(words)}">{text(words)}</p>')
    assert page.text_of("p") == ["""<b onclick="x">'&?"""]
    assert page.tags == ["p"]


def test_a_table_has_its_headings_and_rows() -> None:
    page = parsed(table(["a", "b"], [["1", "2"], ["3", "4"]], kinds=["name", ""]))
    assert page.text_of("th") == ["a", "b"]
    assert page.text_of("td") == ["1", "2", "3", "4"]


def test_a_mask_keeps_its_colours_in_the_page() -> None:
    pixels = np.array([PALETTE, PALETTE[::-1]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    embedded = shown(picture(Image.fromarray(pixels), "mask", is_photo=False))
    assert embedded.format == "PNG"
    np.testing.assert_array_equal(np.asarray(embedded.convert("RGB")), pixels)


def test_a_photograph_is_a_jpeg_with_size_and_name() -> None:
    markup = picture(Image.new("RGB", (20, 10)), 'of "a"', is_photo=True)
    assert shown(markup).format == "JPEG"
    assert 'width="20" height="10" alt="of &quot;a&quot;"' in markup


def test_bars_and_swatches_have_the_class_colour() -> None:
    assert "width:25.00%;background:#c80000" in bar(0.25, (200, 0, 0))
    assert "background:#00c800" in swatch((0, 200, 0))


def test_the_legend_names_classes_and_stripes() -> None:
    assert "unknown" not in legend([], has_unknown=False)
    words = "".join(parsed(legend(zip(CLASSES, PALETTE, strict=True), has_unknown=True)).text_of("span"))
    assert words.startswith("skyroadcarignoredunknown value")


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0.00 %"), (0.12345, "12.35 %"), (1.0, "100.00 %"), (0.000052, "0.005 %"), (1e-9, "under 0.001 %")],
)
def test_a_small_share_is_not_shown_as_none(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_numbers_agree_with_their_noun() -> None:
    assert (counted(1, "pair"), counted(1234, "pair"), counted(0, "pair")) == ("1 pair", "1,234 pairs", "0 pairs")
