"""Write a plot as PNG and PDF and its caption as text: the same plot gives the same bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

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


#: Where a figure goes: ``png``, ``pdf``, ``caption`` (text) and ``data`` (CSV).
Outputs = Mapping[str, PathLike]


def save_figure(plot: p9.ggplot | Compose, text: str, outputs: Outputs) -> None:
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


def drawn_data(plot: p9.ggplot | Compose) -> pl.DataFrame:
    """The rows that a plot draws; line breaks in labels, which are there for the eye, become spaces."""
    if isinstance(plot, Compose):
        parts = [drawn_data(part) for part in plot.items]
        numbered = [part.with_columns(part=pl.lit(number)) for number, part in enumerate(parts, 1)]
        return pl.concat(numbered, how="diagonal_relaxed").select("part", pl.exclude("part"))
    frame = pl.from_pandas(plot.data)
    return frame.with_columns(cs.categorical().cast(pl.String)).with_columns(
        (cs.string() | cs.enum()).cast(pl.String).str.replace_all("\n", " ")
    )


def _save_png(figure: Figure, path: os.PathLike[str]) -> None:
    """Save with a palette of 256 colours: a third of the size, and no eye sees the difference."""
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    with Image.open(pixels) as image:
        palette = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(path, dpi=(_DPI, _DPI))
