"""The run's figures on the page, and the page of all of them beside it.

``report.html`` holds only the pictures that are about all benchmarks at once and that its text refers to; of the others
it has links. ``figures.html`` shows every figure, read from the folder of the figures as it is scrolled to.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from elusive.errors import ElusiveError
from elusive.figures.data import PathLike
from elusive.files import atomic_path
from elusive.report import page

#: Kinds of figures in the order of the page; others follow under their own name.
KINDS = {
    "hero": "Which scores follow compute",
    "survival": "Survival curves of the correlations",
    "statistics": "Statistics of the correlations",
    "attribution": "What each transformation costs",
    "choices": "Right and wrong choices against compute",
    "mechanism": "On what the loss at p_choices depends",
    "scores": "From one metric to the next",
    "masses": "Correct and incorrect mass",
    "pairs": "Other pairs of scores",
    "entropy": "Cross-entropy and mass against compute",
    "means": "Mean scores against compute",
    "scaling": "Accuracy against compute, by family",
    "accuracy": "Accuracy against compute, by model",
    "loss": "Loss against compute",
    "methods": "Survival curves by method",
    "densities": "Densities of the correlations by method",
    "by_family": "Statistics by family",
    "subjects": "Statistics by subject",
    "agreement": "Method against method",
    "families": "Family against family",
    "forecast_fan": "Forecasts of mean scores",
    "forecast_errors": "Errors of forecasts, by how far ahead",
    "forecast_coverage": "How often intervals hold",
    "forecast_reliability": "Probabilities of single items",
    "forecast_skill": "Skill over the last value",
    "forecast_laws": "Laws of right and wrong choices",
    "forecast_turns": "Items that are likely to turn",
    "example": "How to read a survival curve",
}

#: Kinds whose figures of all benchmarks the page holds, and how many bytes of pictures at most.
SHOWN = ("attribution", "mechanism", "accuracy", "loss")
MOST_BYTES = 1_500_000
#: Figures that the section on forecasts holds, in their order, and how many bytes of them at most.
FORECASTS_SHOWN = ("forecast_fan", "forecast_errors", "forecast_skill")
MOST_FORECAST_BYTES = 700_000
_SUMMARY = "What to see: "


@dataclass(frozen=True)
class Figure:
    """A figure: its place, title, caption, and addresses of its files as the page links them.

    ``uri``: the picture itself as a data URI, empty where the page does not hold it; ``short``: what tells it from the
    others of its kind.
    """

    name: str
    anchor: str
    kind: str
    benchmark: str | None
    short: str
    title: str
    paragraphs: list[str]
    summary: str
    width: int
    height: int
    png: str
    pdf: str
    csv: str
    uri: str = ""


def relative(path: PathLike, page_path: PathLike) -> str:
    """The address of ``path`` as a page at ``page_path`` links it."""
    return Path(os.path.relpath(path, Path(page_path).parent)).as_posix()


def read_figure(name: str, png: PathLike, caption: PathLike, labels: Mapping[str, str], page_path: PathLike) -> Figure:
    """The figure called ``name`` (``survival/sciq``, ``subjects/mmlu-pearson``, ``loss``), without its picture.

    The caption's first paragraph is the title, the one that begins with "What to see" the summary. ``labels``:
    benchmark -> label.
    """
    kind, _, rest = name.partition("/")
    subject, _, method = rest.rpartition("-")
    benchmark = next((b for b in (rest, subject) if b in labels), None)
    short = labels[benchmark] + (f", {method}" if benchmark == subject else "") if benchmark else rest
    try:
        with Image.open(png, formats=["PNG"]) as picture:
            width, height = picture.size
    except OSError as error:
        raise ElusiveError(f"{png}: not a PNG picture ({error}); delete it and run again to draw it anew") from error
    title, *paragraphs = Path(caption).read_text(encoding="utf-8").strip().split("\n\n")
    summaries = [p for p in paragraphs if p.startswith(_SUMMARY)]
    address = relative(png, page_path)
    return Figure(
        name=name,
        anchor=f"figure-{name.replace('/', '-')}",
        kind=kind,
        benchmark=benchmark,
        short=short or "figure",
        title=title.rstrip("."),
        paragraphs=[p for p in paragraphs if p not in summaries],
        summary=" ".join(s[len(_SUMMARY)].upper() + s[len(_SUMMARY) + 1 :] for s in summaries),
        width=width,
        height=height,
        png=address,
        pdf=str(Path(address).with_suffix(".pdf")),
        csv=str(Path(address).with_suffix(".csv")),
    )


def embed(png: PathLike) -> str:
    """A picture as a data URI: without loss, and smaller than PNG by a third or more; every browser knows it."""
    packed = io.BytesIO()
    with Image.open(png, formats=["PNG"]) as picture:
        picture.convert("RGB").save(packed, "WEBP", lossless=True, method=4, quality=50)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"


def shown_on_page(figures: Sequence[Figure], pngs: Mapping[str, PathLike]) -> list[tuple[Figure, str]]:
    """The figures that the page holds, with their pictures: of all benchmarks, of the kinds in :data:`SHOWN`.

    ``pngs``: name -> file. Pictures that would go beyond :data:`MOST_BYTES` together are left out.
    """
    wanted = [f for kind in SHOWN for f in figures if f.kind == kind and f.benchmark is None]
    # By Spearman, where a figure is made for several methods.
    methods = ("pearson", "kendall")
    others = {f.kind for f in wanted if "spearman" in f.name}
    return _embedded((f for f in wanted if not (f.name.endswith(methods) and f.kind in others)), pngs, MOST_BYTES)


def shown_with_forecasts(
    figures: Sequence[Figure], pngs: Mapping[str, PathLike], benchmark: str
) -> list[tuple[Figure, str]]:
    """The figures of :data:`FORECASTS_SHOWN` with their pictures: over all benchmarks, else of ``benchmark``.

    ``pngs``: name -> file. Pictures that would go beyond :data:`MOST_FORECAST_BYTES` together are left out.
    """
    wanted = [f for kind in FORECASTS_SHOWN for f in figures if f.kind == kind and f.benchmark in (None, benchmark)]
    return _embedded(wanted, pngs, MOST_FORECAST_BYTES)


def _embedded(figures: Iterable[Figure], pngs: Mapping[str, PathLike], most: int) -> list[tuple[Figure, str]]:
    """The figures with their pictures, but for those that would bring all of them beyond ``most`` bytes."""
    result, size = [], 0
    for figure in figures:
        uri = embed(pngs[figure.name])
        if size + len(uri) <= most:
            result.append((figure, uri))
            size += len(uri)
    return result


def write_gallery(
    figures: Mapping[str, Sequence[Figure]], kinds: Mapping[str, str], report: str, output: PathLike
) -> None:
    """Write the page of all figures to ``output``; ``kinds``: kind -> title, ``report``: address of the report."""
    text = (
        page.environment()
        .get_template("gallery.html.j2")
        .render(figures=figures, kinds=kinds, style=page.style(), report=report)
    )
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
