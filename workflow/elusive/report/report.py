"""Put the tables, figures and captions of a run into one HTML file that opens offline, on a desk or a phone."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from elusive import logs, tables
from elusive.analysis.reference import AGREES, NEAR
from elusive.errors import ElusiveError
from elusive.figures.data import Benchmark, PathLike, read_benchmark
from elusive.figures.style import format_count, format_number, format_power, format_range, format_share
from elusive.files import atomic_path
from elusive.report import findings, summaries
from elusive.report.imported import imported_notes
from elusive.report.published import published_rows, published_sources, published_summary

logger = logs.get(__name__)

#: Kinds of figures in the order of the report; others follow under their own name.
KINDS = {
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
    "example": "How to read a survival curve",
}

_HERE = Path(__file__).parent
_SUMMARY = "What to see: "


@dataclass(frozen=True)
class Figure:
    """A figure as shown: its place, its picture as a data URI of ``width`` × ``height`` pixels, and its caption."""

    anchor: str
    kind: str
    benchmark: str | None
    title: str
    paragraphs: list[str]
    summary: str
    uri: str
    width: int
    height: int


def read_figure(name: str, png: PathLike, caption: PathLike, benchmarks: Sequence[str]) -> Figure:
    """The figure called ``name`` (``survival/sciq``, ``statistics_pearson``, ``loss``) with its picture and caption.

    The caption's first paragraph is the title, the one that begins with "What to see" the summary.
    """
    kind, _, rest = name.partition("/")
    kind = next((known for known in KINDS if kind == known or kind.startswith(f"{known}_")), kind)
    try:
        with Image.open(png, formats=["PNG"]) as picture:
            # Without loss, and smaller than PNG by a third or more; every browser knows it.
            packed = io.BytesIO()
            picture.convert("RGB").save(packed, "WEBP", lossless=True, method=4, quality=50)
            width, height = picture.size
    except OSError as error:
        raise ElusiveError(f"{png}: not a PNG picture ({error}); delete it and run again to draw it anew") from error
    title, *paragraphs = Path(caption).read_text(encoding="utf-8").strip().split("\n\n")
    summaries = [p for p in paragraphs if p.startswith(_SUMMARY)]
    return Figure(
        anchor=f"figure-{name.replace('/', '-')}",
        kind=kind,
        benchmark=rest if rest in benchmarks else None,
        title=title.rstrip("."),
        paragraphs=[p for p in paragraphs if p not in summaries],
        summary=" ".join(s[len(_SUMMARY)].upper() + s[len(_SUMMARY) + 1 :] for s in summaries),
        uri=f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}",
        width=width,
        height=height,
    )


def _range(values: pd.Series, text: Any) -> str:
    low, high = text(values.min()), text(values.max())
    return low if low == high else f"{low} to {high}"


def model_rows(checkpoints: pd.DataFrame) -> list[dict[str, str]]:
    """One row a model for the table of what was run."""
    rows = []
    for name, found in checkpoints.groupby("model", sort=False):
        losses = found.sort_values("tokens")["validation_loss"].dropna()
        outside = found["parameters_nonembedding"].iloc[0]
        rows.append(
            {
                "model": str(name),
                "parameters": f"{found['parameters'].iloc[0]:,}",
                "nonembedding": "" if pd.isna(outside) else f"{int(outside):,}",
                "checkpoints": str(len(found)),
                "tokens": _range(found["tokens"], format_count),
                "flops": _range(found["flops"], format_power),
                "loss": format_range(losses.iloc[0], losses.iloc[-1]) if len(losses) else "",
            }
        )
    return rows


def family_rows(
    checkpoints: pd.DataFrame, families: Mapping[str, str], members: Mapping[str, Sequence[Sequence[str]]]
) -> list[dict[str, str]]:
    """One row a family: how many checkpoints, and over which sizes, tokens and compute."""
    by_key = checkpoints.set_index(["model", "checkpoint"])
    rows = []
    for family, label in families.items():
        found = by_key.loc[[tuple(member) for member in members[family]]]
        found = found[found["flops"] > 0]
        rows.append(
            {
                "label": label,
                "checkpoints": str(len(found)),
                "parameters": _range(found["parameters"], format_count),
                "tokens": _range(found["tokens"], format_count),
                "flops": _range(found["flops"], format_power),
                "decades": f"{math.log10(found['flops'].max() / found['flops'].min()):.1f}",
            }
        )
    return rows


def provenance(metadata: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the scores rest on: each fact with its values over the tables of log-likelihoods that ``metadata`` are of,
    one a checkpoint, the commonest first."""

    def values(key: str) -> str:
        found = Counter(json.dumps(m.get(key, "not recorded")) for m in metadata)
        texts = [json.loads(value) for value, _ in sorted(found.items(), key=lambda e: (-e[1], e[0]))]
        unset = "as the tokenizer does by itself" if key == "add_bos_token" else "not recorded"
        shown = [unset if text is None else str(text) for text in texts]
        return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")

    packages = sorted({package for m in metadata for package in m.get("versions", {})})
    facts = {
        "Prompt protocol": "protocol",
        "Source of the models": "source",
        "Revision of the weights": "revision",
        "Tokenizer (SHA-256)": "tokenizer",
        "Precision of the weights": "dtype",
        "Device": "device",
        "Way of scoring": "path",
        "Scorer version": "scorer",
        "BOS token put first": "add_bos_token",
        "Longest input in tokens": "max_length",
    }
    if any("importer" in m for m in metadata):
        facts |= {"Harness of imported logs": "harness", "Importer version": "importer"}
        metadata = [m | {"harness": _harness(m)} for m in metadata]
    rows = [("Checkpoints scored", f"{len(metadata):,}")]
    rows += [(name, values(key)) for name, key in facts.items()]
    for package in packages:
        versions = sorted({str(m.get("versions", {}).get(package, "not recorded")) for m in metadata})
        rows.append((f"Version of {package}", ", ".join(versions)))
    return rows


def _harness(metadata: Mapping[str, Any]) -> str | None:
    known = metadata.get("imported", {})
    return " ".join(str(known[key]) for key in ("harness", "harness_version") if key in known) or None


def _heat(value: float | None) -> str:
    """CSS background of a correlation: blue above 0, red below, stronger further from 0."""
    if value is None:
        return ""
    colour = "59,76,192" if value >= 0 else "180,4,38"
    return f"background:rgba({colour},{min(abs(value), 1.0) * 0.55:.2f})"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # A NaN would not be JSON, and the page's script would stop at it.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters |= {
        "heat": _heat,
        "number": lambda value: "–" if value is None else format_number(value),
        "signed": lambda value, digits: ("+" if round(value, digits) > 0 else "") + format_number(value, digits),
        "share": format_share,
        "count": lambda value: f"{value:,}",
    }
    return environment


def read_drilldowns(paths: Sequence[PathLike]) -> list[dict[str, Any]]:
    """What :func:`~elusive.report.drilldown.write_drilldown` wrote for each benchmark."""
    found = []
    for path in paths:
        try:
            found.append(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError) as error:
            raise ElusiveError(f"{path}: not readable as JSON ({error}); delete it and run again") from error
    return found


@dataclass(frozen=True)
class Tables:
    """Paths of the summary tables that the report shows, each the Parquet file of the table of its name."""

    checkpoints: PathLike
    scores: PathLike
    correlation_statistics: PathLike
    attribution: PathLike
    mechanism: PathLike
    null_bands: PathLike
    checkpoint_intervals: PathLike
    authors_variants: PathLike
    predictability: PathLike
    aggregates: PathLike
    reference: PathLike
    audit: PathLike

    def frame(self, name: str) -> pd.DataFrame:
        """The table called ``name``, its contract's columns checked."""
        return tables.read_table(getattr(self, name), name).to_pandas()


#: Kinds of rows of the table ``audit``, and what the report calls them.
AUDITED = {
    "equal": "Equal checkpoints",
    "off_trend": "Checkpoints off the trend of their run",
    "truncated": "Prompts that were cut",
    "dropped": "Items left out",
    "warning": "What scoring warns of",
    "ties": "Ties of half precision",
    "mixture": "Scored in different ways",
}
_AUDIT_SHOWN = 12


def audit_groups(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """The table ``audit`` by kind: heading, the first sentences, and how many more there are; empty when it is.

    What is said of a checkpoint in several families is said once.
    """
    groups = []
    for kind, heading in AUDITED.items():
        sentences = list(dict.fromkeys(audit.loc[audit["kind"] == kind, "text"]))
        if sentences:
            more = max(0, len(sentences) - _AUDIT_SHOWN)
            groups.append({"heading": heading, "sentences": sentences[:_AUDIT_SHOWN], "more": more})
    return groups


def _family_findings(
    frames: Mapping[str, pd.DataFrame], benchmarks: Sequence[Benchmark], family: str, label: str, models: int
) -> dict[str, Any]:
    """Medians, orders and sentences of one family."""
    statistics = frames["correlation_statistics"]
    # Searched once a benchmark and method: without the rows of others that is fast at the paper's scale as well.
    statistics = statistics[(statistics["family"] == family) & statistics["subject"].isna()]
    rows = []
    for benchmark in benchmarks:
        medians = [findings.chain_medians(statistics, family, benchmark.name, method) for method in findings.METHODS]
        rows.append(
            {
                "benchmark": benchmark,
                "medians": list(itertools.chain.from_iterable(medians)),
                "orders": [findings.paper_order(m) for m in medians],
            }
        )
    headlines = findings.headlines(statistics, benchmarks, family, label, models)
    headlines += [
        findings.attribution_text(frames["attribution"], benchmarks, family),
        findings.predictability_text(frames["predictability"], benchmarks, family),
        findings.chance_text(frames["checkpoint_intervals"], frames["null_bands"], benchmarks, family, label),
    ]
    return {"label": label, "rows": rows, "headlines": headlines}


def write_report(
    *,
    items: Sequence[PathLike],
    logprobs: Sequence[PathLike],
    summary: Tables,
    drilldowns: Sequence[PathLike],
    figures: Sequence[str],
    pngs: Sequence[PathLike],
    captions: Sequence[PathLike],
    families: Mapping[str, str],
    plotted: Sequence[str],
    members: Mapping[str, Sequence[Sequence[str]]],
    output: PathLike,
) -> None:
    """Write the report to ``output``; the same inputs give the same bytes.

    ``items``: items tables, in the order in which benchmarks are shown; ``logprobs``: a table of log-likelihoods of
    each checkpoint, of which only the metadata are read; ``summary``: the summary tables; ``drilldowns``: the items to
    look at, a file a benchmark. ``figures`` names each figure (``kind`` or ``kind/benchmark``), ``pngs`` and
    ``captions`` are its files. ``families``: name -> label, in order; ``plotted``: those of which the page has numbers,
    the first being the one whose findings come first; ``members``: name -> list of (model, checkpoint).
    """
    benchmarks = [read_benchmark(path) for path in items]
    names = [b.name for b in benchmarks]
    frames = {field.name: summary.frame(field.name) for field in fields(summary)}
    trained = frames["checkpoints"]
    published = frames["reference"]
    scored = [tables.read_metadata(path) for path in logprobs]
    labels = summaries.labels_of(benchmarks)
    shown_families = {name: families[name] for name in plotted}
    found = findings.signals(frames["scores"], benchmarks)
    family_table = family_rows(trained, families, members)
    models = {row["label"]: int(row["checkpoints"]) for row in family_table}
    chains = [
        _family_findings(frames, benchmarks, family, label, models[label]) for family, label in shown_families.items()
    ]
    shown = [read_figure(*entry, names) for entry in zip(figures, pngs, captions, strict=True)]
    kinds = dict.fromkeys([*(k for k in KINDS if any(f.kind == k for f in shown)), *(f.kind for f in shown)])
    packed = {"statistics": summaries.pack_statistics(frames["correlation_statistics"], shown_families, labels)}
    only_chain = packed["statistics"].pop("only_chain")
    packed |= summaries.pack_all(frames, shown_families, labels)
    short = {
        kind: getattr(summaries, kind)(frames[name], shown_families, benchmarks)
        for kind, name in {
            "recommended": "predictability",
            "attribution": "attribution",
            "mechanism": "mechanism",
            "signal_to_noise": "aggregates",
        }.items()
    }
    short["chance"] = summaries.chance(frames["null_bands"], shown_families)
    short["authors"] = summaries.authors(frames["authors_variants"], labels)
    page = (
        _environment()
        .get_template("template.html.j2")
        .render(
            style=(_HERE / "page.css").read_text(encoding="utf-8"),
            script=(_HERE / "page.js").read_text(encoding="utf-8"),
            benchmarks=benchmarks,
            families=list(shown_families.values()),
            further=len(families) - len(shown_families),
            chains=chains,
            methods=findings.METHODS,
            signals=found,
            signal=findings.signal_text(found),
            models=model_rows(trained),
            family_table=family_table,
            compute=_range(trained.loc[trained["flops"] > 0, "flops"], format_power),
            num_checkpoints=len(trained),
            kinds={kind: KINDS.get(kind, kind) for kind in kinds},
            figures={kind: [f for f in shown if f.kind == kind] for kind in kinds},
            tables=packed,
            only_chain=only_chain,
            short=short,
            drilldowns=read_drilldowns(drilldowns),
            drilldown_family=shown_families[plotted[0]],
            published=published_rows(published, labels),
            published_summary=published_summary(published, labels),
            published_sources=published_sources(published),
            limits=(f"{AGREES:g}", f"{NEAR:g}"),
            audit=audit_groups(frames["audit"]),
            notes=[
                *findings.notes(benchmarks, {label: models[label] for label in shown_families.values()}),
                *imported_notes(scored, frames["correlation_statistics"], benchmarks, shown_families, members),
            ],
            provenance=provenance(scored),
        )
    )
    with atomic_path(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("wrote %s: %d figures, %.1f MB", output, len(shown), len(page) / 1e6)
