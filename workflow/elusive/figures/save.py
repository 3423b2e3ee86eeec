"""Write a plot as PNG and PDF and its caption as text: the same plot gives the same bytes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence

import matplotlib
import plotnine as p9
import polars as pl
import polars.selectors as cs
from matplotlib.axis import Axis
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.ticker import FixedFormatter
from PIL import Image
from plotnine.composition import Compose

from elusive import logs
from elusive.figures import fonts
from elusive.figures.data import PathLike
from elusive.figures.style import METRICS, UNDEFINED, nothing
from elusive.files import atomic_path

logger = logs.get(__name__)

_DPI = 220
_PDF_DPI = 72  # points
_SEE = "What to see:"
_WHY = "a score that is the same in all checkpoints of a family has none with compute"

Plot = p9.ggplot | Compose

#: Columns that say where and how a mark is drawn, which is no data.
PLACES = ("place", "line", "group", "row", "text", "ink")

#: Where a figure goes: ``png``, ``pdf``, ``caption`` (text) and ``data`` (CSV).
Outputs = Mapping[str, PathLike]


def grouped(outputs: Mapping[str, PathLike], figures: Sequence[str]) -> dict[str, Outputs]:
    """Files named ``figure_png``, ``figure_pdf``, ... of a job with several ``figures``: figure -> its outputs."""
    return {name: {kind: outputs[f"{name}_{kind}"] for kind in ("png", "pdf", "caption", "data")} for name in figures}


def save_figure(plot: Plot, text: str, outputs: Outputs, names: Mapping[str, str] | None = None) -> None:
    """Draw ``plot`` once and save the picture, ``text`` and the data behind the picture to ``outputs``.

    Dates and program versions are left out of the files, fonts are embedded as text in the PDF, and layers that ask
    for it are rasterised there. The data are the rows that are drawn, see :func:`drawn_data`, in which ``names`` (name
    -> label, of families or benchmarks) puts names for labels.

    Where no row is left, as when a score is the same in every checkpoint of a family, there are no panels, and picture
    and caption say that no correlation is defined.
    """
    data = drawn_data(plot, names or {})
    if data.is_empty():
        plot = nothing(getattr(plot.labels, "title", None) or "")
        text = f"{text.partition(_SEE)[0].rstrip()}\n\n{_SEE} nothing is drawn, since {UNDEFINED}: {_WHY}."
    with matplotlib.rc_context({"pdf.fonttype": 42, "path.simplify": True}), fonts.quick():
        figure = plot.draw()
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                _print_minus_signs(axis)
        engine = figure.get_layout_engine()
        figure.set_layout_engine(None)
        _lay_out(figure, engine, FigureCanvasAgg, _DPI)
        with atomic_path(outputs["png"]) as temporary:
            _save_png(figure, temporary)
        _lay_out(figure, engine, FigureCanvasPdf, _PDF_DPI)
        with atomic_path(outputs["pdf"]) as temporary:
            figure.savefig(temporary, dpi=_DPI, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    with atomic_path(outputs["caption"]) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    with atomic_path(outputs["data"]) as temporary:
        data.write_csv(temporary)
    logger.info("wrote %s and what goes with it", outputs["png"])


def drawn_data(plot: Plot, names: Mapping[str, str]) -> pl.DataFrame:
    """The rows that a plot draws: names in the place of labels, numbers to seven digits, no coordinates of marks.

    Columns in :data:`PLACES` are left out, line breaks in labels become spaces, and mathematics becomes plain text. The
    data of plots side by side stand one below the other with a column ``part`` that counts them from 1.
    """
    if isinstance(plot, Compose):
        parts = [drawn_data(part, names) for part in _leaves(plot)]
        numbered = [part.with_columns(part=pl.lit(number)) for number, part in enumerate(parts, 1)]
        return pl.concat(numbered, how="diagonal_relaxed").select("part", pl.exclude("part"))
    frame = pl.from_pandas(plot.data).drop(PLACES, strict=False).with_columns(cs.categorical().cast(pl.String))
    text = (cs.string() | cs.enum()).cast(pl.String).str.replace_all("\n", " ")
    frame = frame.with_columns(text.replace({label: name for name, label in names.items()}))
    math = {value: _plain(value) for column in frame.select(cs.string()) for value in column.unique() if value}
    return frame.with_columns(cs.string().replace(math), cs.float().round_sig_figs(7))


def _plain(text: str) -> str:
    """A label without the mathematics of :class:`~elusive.figures.style.Metric`."""
    for metric in METRICS:
        text = text.replace(metric.math, metric.plain)
    return re.sub(r"\$\\log_\{10\}\$", "log10", text)


def _print_minus_signs(axis: Axis) -> None:
    """Write negative numbers on an axis with a minus sign: labels come with the hyphen of Python's numbers."""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, FixedFormatter):
        axis.set_major_formatter(FixedFormatter([re.sub(r"^-(?=[\d.])", "−", label) for label in formatter.seq]))


def _leaves(plot: Plot) -> list[p9.ggplot]:
    """The plots that a composition is made of, in reading order."""
    return [leaf for part in plot.items for leaf in _leaves(part)] if isinstance(plot, Compose) else [plot]


def _lay_out(figure: Figure, engine: LayoutEngine, canvas: type[FigureCanvasBase], dpi: int) -> None:
    """Find the places of everything by the sizes that text has in a format.

    A figure with an ``engine`` of its own would draw everything in vain before, to do the same.
    """
    canvas(figure)
    figure.set_dpi(dpi)
    engine.execute(figure)


def _save_png(figure: Figure, path: os.PathLike[str]) -> None:
    """Save with a palette of 256 colours: a third of the size, and no eye sees the difference."""
    pixels = io.BytesIO()
    figure.savefig(pixels, format="rgba", dpi=_DPI)
    width, height = (int(inches * _DPI) for inches in figure.get_size_inches())
    image = Image.frombuffer("RGBA", (width, height), pixels.getbuffer()).convert("RGB")
    palette = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(path, dpi=(_DPI, _DPI))
