"""Figures as files: the pictures are matplotlib's own, and what is done once for all formats changes none."""

import io
import re
import zlib

import matplotlib
import pandas as pd
import plotnine as p9
import pytest
from fontTools.ttLib import TTFont
from plotnine.composition import Compose

from elusive.figures.save import save_figure
from elusive.figures.style import theme


def single() -> p9.ggplot:
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [-1.0, 0.5, 40000.0], "name": ["a", "b", "c"]})
    plot = p9.ggplot(data, p9.aes("x", "y", color="name")) + p9.geom_point() + p9.facet_wrap("name")
    return plot + p9.labs(title="Ceiling of $\\log_{10}$", x="Kerning: AVATAR") + theme(5, 2)


def pair() -> Compose:
    return single() | single()


def pdf_streams(content: bytes) -> list[tuple[bytes, bytes]]:
    """Dictionary and inflated content of the streams of a PDF."""
    found = re.finditer(rb"<<((?:(?!endobj).)*?)>>\s*stream\r?\n", content, re.DOTALL)
    return [(m[1], zlib.decompressobj().decompress(content[m.end() :])) for m in found if b"FlateDecode" in m[1]]


@pytest.mark.parametrize("make", [single, pair])
def test_both_pictures_are_those_of_a_figure_that_is_laid_out_by_itself(make, tmp_path):
    outputs = {kind: tmp_path / f"figure.{kind}" for kind in ("png", "pdf", "caption", "data")}
    save_figure(make(), "Caption.", outputs)
    expected = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42, "path.simplify": True}):
        figure = make().draw()
        # With a typographic minus sign in the place of a hyphen, as in all figures.
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                formatter = axis.get_major_formatter()
                if hasattr(formatter, "seq"):
                    formatter.seq = [re.sub(r"^-(?=[\d.])", "−", label) for label in formatter.seq]
        figure.savefig(expected, format="pdf", dpi=220)
    own, theirs = (
        [stream for about, stream in pdf_streams(content) if b"Length1" not in about]
        for content in (outputs["pdf"].read_bytes(), expected.getvalue())
    )
    assert len(own) > 2 and own == theirs


def test_embedded_fonts_have_glyphs_and_nothing_to_set_text_with(tmp_path):
    outputs = {kind: tmp_path / f"figure.{kind}" for kind in ("png", "pdf", "caption", "data")}
    save_figure(single(), "Caption.", outputs)
    fonts = [TTFont(io.BytesIO(s)) for about, s in pdf_streams(outputs["pdf"].read_bytes()) if b"Length1" in about]
    assert fonts
    for font in fonts:
        assert font["maxp"].numGlyphs > 1
        assert not {"GSUB", "GPOS", "GDEF", "kern"} & set(font.keys())
