"""Put the tables, figures and captions of a run into one HTML file that opens offline, on a desk or a phone."""

from __future__ import annotations

import base64
import itertools
import json
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from elusive import logs, tables
from elusive.errors import ElusiveError
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_extra, read_frame
from elusive.figures.style import METRICS, format_count, format_number, format_power, format_range, format_share
from elusive.files import atomic_path
from elusive.reference import AGREES, NEAR
from elusive.report import findings
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

_STATISTICS = {
    "mean": "mean",
    "median": "median",
    "auc": "area",
    "neg_wasserstein": "−Wasserstein",
    "fraction_above_075": "C > 0.75",
}


#: Metrics outside the chain, in plain words.
_OTHER_METRICS = {
    "log_p_vocab_incorrect": "log p_vocab of the wrong choices",
    "p_vocab_incorrect": "p_vocab of the wrong choices",
    "log_p_choices_correct": "log p_choices",
    "accuracy_norm": "accuracy per character",
    "margin_log": "margin to the best wrong choice",
    "log_p_vocab_choices": "log p_vocab of all choices",
    "p_choices_correct_per_token": "p_choices per token",
    "p_choices_correct_per_byte": "p_choices per byte",
    "p_choices_correct_per_char": "p_choices per character",
    "margin_per_byte": "margin per byte",
    "accuracy_per_token": "accuracy per token",
    "accuracy_per_byte": "accuracy per byte",
    "is_greedy": "right answer is greedy",
    "log_p_vocab_correct_pmi": "PMI of the right choice",
    "p_choices_correct_pmi": "p_choices of PMI",
    "margin_pmi": "margin of PMI",
    "accuracy_pmi": "accuracy by PMI",
}

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
    data = Path(png).read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ElusiveError(f"{png}: not a PNG picture; delete it and run again to draw it anew")
    width, height = struct.unpack(">II", data[16:24])
    title, *paragraphs = Path(caption).read_text(encoding="utf-8").strip().split("\n\n")
    summaries = [p for p in paragraphs if p.startswith(_SUMMARY)]
    return Figure(
        anchor=f"figure-{name.replace('/', '-')}",
        kind=kind,
        benchmark=rest if rest in benchmarks else None,
        title=title.rstrip("."),
        paragraphs=[p for p in paragraphs if p not in summaries],
        summary=" ".join(s[len(_SUMMARY)].upper() + s[len(_SUMMARY) + 1 :] for s in summaries),
        uri=f"data:image/png;base64,{base64.b64encode(data).decode()}",
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
    """What the scores rest on: each fact with its values over all tables of log-likelihoods, the commonest first."""

    def values(key: str) -> str:
        found = Counter(json.dumps(m.get(key)) for m in metadata)
        texts = [json.loads(value) for value, _ in sorted(found.items(), key=lambda e: (-e[1], e[0]))]
        shown = ["not recorded" if text is None else str(text) for text in texts]
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
    rows = [("Tables of log-likelihoods", f"{len(metadata):,}")]
    rows += [(name, values(key)) for name, key in facts.items()]
    for package in packages:
        versions = sorted({str(m.get("versions", {}).get(package, "not recorded")) for m in metadata})
        rows.append((f"Version of {package}", ", ".join(versions)))
    return rows


def statistics_data(
    statistics: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]
) -> dict[str, Any]:
    """The statistics table for the page's script: columns, rows, and the choices of each filter.

    Whole benchmarks only. A numeric cell is a number or null, an interval its two ends.
    """
    labels = {b.name: b.label for b in benchmarks}
    metrics = {m.column: m.plain for m in METRICS} | _OTHER_METRICS
    frame = statistics[statistics["subject"].isna()]

    def number(value: float) -> float | None:
        return None if pd.isna(value) else round(float(value), 4)

    rows = []
    for row in frame.to_dict("records"):
        keys = [families.get(row["family"], row["family"]), labels.get(row["benchmark"], row["benchmark"])]
        keys += [metrics.get(row["metric"], row["metric"]), row["method"], row["nan_policy"]]
        cells: list[Any] = [int(row["num_items"]), int(row["num_models"]), number(row["nan_fraction"])]
        for statistic in _STATISTICS:
            cells.append([number(row[statistic]), number(row[f"{statistic}_low"]), number(row[f"{statistic}_high"])])
        rows.append(keys + cells)
    keys = ["family", "benchmark", "metric", "method", "undefined"]
    first = {"metric": list(metrics.values()), "family": list(families.values()), "benchmark": list(labels.values())}
    choices = {}
    for position, key in enumerate(keys):
        found = dict.fromkeys([*first.get(key, []), *(row[position] for row in rows)])
        present = {row[position] for row in rows}
        choices[key] = [value for value in found if value in present]
    names = [*keys, "items", "checkpoints", "share undefined", *_STATISTICS.values()]
    return {"columns": names, "keys": len(keys), "choices": choices, "rows": rows}


def _heat(value: float | None) -> str:
    """CSS background of a correlation: blue above 0, red below, stronger further from 0."""
    if value is None:
        return ""
    colour = "59,76,192" if value >= 0 else "180,4,38"
    return f"background:rgba({colour},{min(abs(value), 1.0) * 0.55:.2f})"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "heat": _heat,
        "number": lambda value: "–" if value is None else format_number(value),
        "signed": lambda value, digits: ("+" if round(value, digits) > 0 else "") + format_number(value, digits),
        "share": format_share,
        "count": lambda value: f"{value:,}",
    }
    return environment


def write_report(
    *,
    items: Sequence[PathLike],
    logprobs: Sequence[PathLike],
    checkpoints: PathLike,
    scores: PathLike,
    statistics: PathLike,
    reference: PathLike,
    figures: Sequence[str],
    pngs: Sequence[PathLike],
    captions: Sequence[PathLike],
    families: Mapping[str, str],
    members: Mapping[str, Sequence[Sequence[str]]],
    output: PathLike,
) -> None:
    """Write the report to ``output``; the same inputs give the same bytes.

    ``items``: items tables, in the order in which benchmarks are shown; ``logprobs``: all tables of log-likelihoods, of
    which only the metadata are read; ``checkpoints``, ``scores``, ``statistics`` (correlation_statistics) and
    ``reference``: summary tables. ``figures`` names each figure (``kind`` or ``kind/benchmark``), ``pngs`` and
    ``captions`` are its files. ``families``: name -> label, in order, the first being the one whose findings come
    first; ``members``: name -> list of (model, checkpoint).
    """
    benchmarks = [read_benchmark(path) for path in items]
    names = [b.name for b in benchmarks]
    table = read_frame(statistics, "correlation_statistics", list(tables.SCHEMAS["correlation_statistics"].names))
    columns = ["model", "checkpoint", "parameters", "parameters_nonembedding", "tokens", "flops", "validation_loss"]
    trained = read_extra(checkpoints, columns)
    accuracies = read_extra(scores, ["model", "checkpoint", "benchmark", "accuracy", "above_chance_se"])
    published = tables.read_table(reference, "reference").to_pandas()
    labels = {b.name: b.label for b in benchmarks}
    found = findings.signals(accuracies, benchmarks)
    family_table = family_rows(trained, families, members)
    models = {row["label"]: int(row["checkpoints"]) for row in family_table}
    chains = []
    for family, label in families.items():
        rows = []
        for benchmark in benchmarks:
            medians = [findings.chain_medians(table, family, benchmark.name, method) for method in findings.METHODS]
            rows.append(
                {
                    "benchmark": benchmark,
                    "medians": list(itertools.chain.from_iterable(medians)),
                    "orders": [findings.paper_order(m) for m in medians],
                }
            )
        headlines = findings.headlines(table, benchmarks, family, label, models[label])
        chains.append({"label": label, "rows": rows, "headlines": headlines})
    shown = [read_figure(*entry, names) for entry in zip(figures, pngs, captions, strict=True)]
    kinds = dict.fromkeys([*(k for k in KINDS if any(f.kind == k for f in shown)), *(f.kind for f in shown)])
    page = (
        _environment()
        .get_template("template.html.j2")
        .render(
            benchmarks=benchmarks,
            families=list(families.values()),
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
            statistics=statistics_data(table, benchmarks, families),
            published=published_rows(published, labels),
            published_summary=published_summary(published, labels),
            published_sources=published_sources(published),
            limits=(f"{AGREES:g}", f"{NEAR:g}"),
            notes=findings.notes(benchmarks, models),
            provenance=provenance([tables.read_metadata(path) for path in logprobs]),
        )
    )
    with atomic_path(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    logger.info("wrote %s: %d figures, %.1f MB", output, len(shown), len(page) / 1e6)
