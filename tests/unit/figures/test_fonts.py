"""A PDF has the fonts that matplotlib alone would have put into it."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from fontTools import subset
from matplotlib.backends import _backend_pdf_ps as embedding
from matplotlib.figure import Figure

from elusive.figures import fonts

TEXTS = {
    "letters": ["Accuracy, −0.5 to 1 (95 %)", "log p"],
    "accents": ["Ελληνικά, naïve, Łódź, 10²² “so”"],
    "mathematics": [r"$10^{22}$ FLOPs, $\log p^{\mathrm{Vocab}}$"],
    "uncommon": ["∮ and ☃ stand in no common text", "as others do"],
}


def pdf(texts: list[str], within) -> bytes:
    """A page with ``texts``, one of them bold, written ``within`` a context."""
    with matplotlib.rc_context({"pdf.fonttype": 42}), within:
        figure, content = Figure(), io.BytesIO()
        for place, text in enumerate(texts):
            figure.text(0.1, 0.2 + 0.3 * place, text)
        figure.text(0.1, 0.9, "Title", weight="bold")
        figure.savefig(content, format="pdf", metadata={"CreationDate": None})
    return content.getvalue()


@contextlib.contextmanager
def matplotlib_alone(monkeypatch: pytest.MonkeyPatch):
    """matplotlib's own way, without the tables that set text."""
    with monkeypatch.context() as patch:
        patch.setattr(subset.Options, "_drop_tables_default", [*subset.Options._drop_tables_default, *fonts._SETTING])
        yield


@pytest.mark.parametrize("kind", TEXTS)
def test_fonts_are_those_of_matplotlib(kind, monkeypatch):
    expected = pdf(TEXTS[kind], matplotlib_alone(monkeypatch))
    assert b"/FontFile2" in expected
    for _ in range(2):
        assert pdf(TEXTS[kind], fonts.quick()) == expected


def test_a_common_text_reads_no_whole_font_again(monkeypatch):
    pdf(TEXTS["letters"], fonts.quick())
    misses = fonts._reduce.cache_info().misses
    sizes = []
    embed = embedding.get_glyphs_subset

    @contextlib.contextmanager
    def measured(file, glyphs):
        with embed(file, glyphs) as part:
            sizes.append(max(glyphs))
            yield part

    monkeypatch.setattr(embedding, "get_glyphs_subset", measured)
    pdf(TEXTS["letters"], fonts.quick())
    assert fonts._reduce.cache_info().misses == misses
    assert sizes and max(sizes) < len(fonts._COMMON)


def test_what_matplotlib_does_otherwise_stays():
    embed, tables = embedding.get_glyphs_subset, list(subset.Options._drop_tables_default)
    with pytest.raises(ZeroDivisionError), fonts.quick():
        assert embedding.get_glyphs_subset is not embed
        raise ZeroDivisionError
    assert embedding.get_glyphs_subset is embed
    assert subset.Options._drop_tables_default == tables


def test_figures_of_a_benchmark_load_no_statistics():
    """What draws takes seconds to load as it is."""
    code = (
        "import sys; sys.path.insert(0, 'workflow')\n"
        "import elusive.figures.benchmark, elusive.figures.forecasts\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('scipy', 'torch', 'transformers')))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
