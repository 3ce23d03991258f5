"""What our charts have in common: file formats, fonts, colours, and that a file is whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from segwright.errors import ConfigError
from segwright.runtime.files import replacing

INK, GRID = "#333333", "#DDDDDD"

_CANVASES = {".png": FigureCanvasAgg, ".svg": FigureCanvasSVG}
_DPI = 150
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "segwright",  # the same numbers make the same file
    "svg.fonttype": "path",
    "text.parse_math": False,  # a class may have a dollar sign in its name
}


def check_chart_path(path: str | Path) -> None:
    """Refuse a file that cannot become a chart, before the work is done.

    Raises:
        ConfigError: another ending than .png or .svg, or no such folder.
    """
    path = Path(path)
    if path.suffix.lower() not in _CANVASES:
        raise ConfigError(f"a chart is saved as PNG or SVG, got '{path}'", fix=f"name it {path.stem}.svg")
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder", fix="name a file that is none")
    if not path.parent.is_dir():
        raise ConfigError(f"folder '{path.parent}' does not exist", fix="make it first, or name another")


@contextmanager
def new_chart(path: str | Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure to draw on, written to a PNG or an SVG when the block ends well.

    Args:
        path: the file, in a folder that exists; its ending says which.
        size: (width, height) in inches, as matplotlib has it.

    Raises:
        ConfigError: another ending, or no such folder.
        RunError: the file could not be written.
    """
    check_chart_path(path)
    suffix = Path(path).suffix.lower()
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        _CANVASES[suffix](figure)
        yield figure
        with replacing(Path(path), durable=False) as temporary:
            metadata = {"Date": None} if suffix == ".svg" else {}
            figure.savefig(temporary, format=suffix[1:], dpi=_DPI, metadata=metadata)
