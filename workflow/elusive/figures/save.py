"""Write a plot as PNG and PDF and its caption as text: the same plot gives the same bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence

import matplotlib
import plotnine as p9
import polars as pl
import polars.selectors as cs
from matplotlib.figure import Figure
from PIL import Image
from plotnine.composition import Compose

from elusive import logs
from elusive.figures.data import PathLike
from elusive.files import atomic_path

logger = logs.get(__name__)

_DPI = 220


Plot = p9.ggplot | Compose

#: Where a figure goes: ``png``, ``pdf``, ``caption`` (text) and ``data`` (CSV).
Outputs = Mapping[str, PathLike]


def grouped(outputs: Mapping[str, PathLike], figures: Sequence[str]) -> dict[str, Outputs]:
    """Files named ``figure_png``, ``figure_pdf``, ... of a job with several ``figures``: figure -> its outputs."""
    return {name: {kind: outputs[f"{name}_{kind}"] for kind in ("png", "pdf", "caption", "data")} for name in figures}


def save_figure(plot: Plot, text: str, outputs: Outputs) -> None:
    """Draw ``plot`` once and save the picture, ``text`` and the data behind the picture to ``outputs``.

    Dates and program versions are left out of the files, fonts are embedded as text in the PDF, and layers that ask
    for it are rasterised there. The data are the rows that are drawn; those of plots side by side stand one below the
    other with a column ``part`` that counts them from 1.
    """
    with matplotlib.rc_context({"pdf.fonttype": 42, "path.simplify": True}):
        figure = plot.draw()
        with atomic_path(outputs["png"]) as temporary:
            _save_png(figure, temporary)
        with atomic_path(outputs["pdf"]) as temporary:
            figure.savefig(temporary, dpi=_DPI, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    with atomic_path(outputs["caption"]) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    with atomic_path(outputs["data"]) as temporary:
        drawn_data(plot).write_csv(temporary)
    logger.info("wrote %s and what goes with it", outputs["png"])


def drawn_data(plot: Plot) -> pl.DataFrame:
    """The rows that a plot draws; line breaks in labels, which are there for the eye, become spaces."""
    if isinstance(plot, Compose):
        parts = [drawn_data(part) for part in _leaves(plot)]
        numbered = [part.with_columns(part=pl.lit(number)) for number, part in enumerate(parts, 1)]
        return pl.concat(numbered, how="diagonal_relaxed").select("part", pl.exclude("part"))
    frame = pl.from_pandas(plot.data)
    return frame.with_columns(cs.categorical().cast(pl.String)).with_columns(
        (cs.string() | cs.enum()).cast(pl.String).str.replace_all("\n", " ")
    )


def _leaves(plot: Plot) -> list[p9.ggplot]:
    """The plots that a composition is made of, in reading order."""
    return [leaf for part in plot.items for leaf in _leaves(part)] if isinstance(plot, Compose) else [plot]


def _save_png(figure: Figure, path: os.PathLike[str]) -> None:
    """Save with a palette of 256 colours: a third of the size, and no eye sees the difference."""
    pixels = io.BytesIO()
    figure.savefig(pixels, format="rgba", dpi=_DPI)
    width, height = (int(inches * _DPI) for inches in figure.get_size_inches())
    image = Image.frombuffer("RGBA", (width, height), pixels.getbuffer()).convert("RGB")
    palette = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(path, dpi=(_DPI, _DPI))
