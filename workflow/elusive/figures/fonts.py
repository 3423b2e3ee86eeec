"""Fonts in a PDF, cut down to what a figure writes: the same bytes as matplotlib's in a fraction of the time.

matplotlib reads a font as a whole for every figure, some 6,000 glyphs, to keep a few dozen of them. Here a font is cut
down once to the glyphs of common characters, and for each figure from there.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Collection, Iterator
from typing import Any

from fontTools import subset
from matplotlib.backends import _backend_pdf_ps as embedding

#: Tables of a font that say which glyphs stand for a text, and where: a PDF has its glyphs placed, and to cut these
#: tables down takes longer than to draw a figure.
_SETTING = ("GDEF", "GPOS", "GSUB", "MATH", "kern")

#: Characters that figures write: those of Latin and Greek alphabets, punctuation, raised figures, signs.
_COMMON = (*range(0x20, 0x180), *range(0x370, 0x400), *range(0x2010, 0x2040), *range(0x2070, 0x20A0), 0x2212)


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Within it, a PDF that is written embeds its fonts as said above."""
    tables, embed = subset.Options._drop_tables_default, embedding.get_glyphs_subset
    subset.Options._drop_tables_default = [*tables, *_SETTING]
    embedding.get_glyphs_subset = functools.partial(_embed, embed)
    try:
        yield
    finally:
        subset.Options._drop_tables_default, embedding.get_glyphs_subset = tables, embed


@contextlib.contextmanager
def _embed(embed: Any, file: Any, glyphs: Collection[int]) -> Iterator[Any]:
    """What ``embed``, matplotlib's own function, gives for the ``glyphs`` (their numbers) of a font ``file``."""
    reduced, numbers = _reduce(file)
    if not numbers.keys() >= set(glyphs):
        with embed(file, glyphs) as whole:
            yield whole
        return
    with _loading(reduced), embed(file, {numbers[glyph] for glyph in glyphs}) as part:
        yield part._replace(glyph_index_map={glyph: part.glyph_index_map[numbers[glyph]] for glyph in glyphs})


@contextlib.contextmanager
def _loading(font: bytes) -> Iterator[None]:
    """Within it, a font that fontTools is to cut down is ``font``."""
    load = subset.load_font
    subset.load_font = lambda file, options: load(io.BytesIO(font), options)
    try:
        yield
    finally:
        subset.load_font = load


@functools.cache
def _reduce(file: Any) -> tuple[bytes, dict[int, int]]:
    """A font with the glyphs of common characters, and the numbers of its glyphs there, by those in the whole font."""
    options = subset.Options(glyph_names=True, recommended_glyphs=True, font_number=file.face_index)
    with subset.load_font(file, options) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=_COMMON)
        cutter.subset(font)
        content = io.BytesIO()
        font.save(content, reorderTables=False)
    return content.getvalue(), dict(cutter.glyph_index_map)
