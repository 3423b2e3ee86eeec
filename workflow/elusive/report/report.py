"""Put the tables, figures and captions of a run into one HTML file that opens offline, on a desk or a phone."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from elusive import logs, tables
from elusive.analysis.reference import AGREES, NEAR
from elusive.errors import ElusiveError
from elusive.figures import states
from elusive.figures.data import Benchmark, PathLike, read_benchmark
from elusive.figures.style import METRICS, format_power, metrics_seen_by
from elusive.files import atomic_path
from elusive.report import (
    audit,
    drawings,
    findings,
    forecast,
    headline,
    order,
    page,
    pictures,
    run,
    sentences,
    summaries,
)
from elusive.report.curves import LEVELS, SCALE, SERIES, chance_curves
from elusive.report.imported import imported_notes
from elusive.report.published import published_rows, published_sources, published_summary
from elusive.report.words import PLAIN, WORDS

logger = logs.get(__name__)

TITLE = "Which scores follow compute, and where it is lost"
#: Rows of the strip that are open at once.
ROWS_SHOWN = 12
#: Rows of other tables beyond which they scroll in a frame.
ROWS_HIGH = 24
#: Metrics whose mean scores the page can draw.
MEANS = (*(m.column for m in METRICS), "log_p_vocab_incorrect", "accuracy_norm", "margin_log")
_STATES = {
    states.FOLLOWS: "more than shuffled compute gives",
    states.CHANCE: "no more than chance",
    states.FALLS: "less than shuffled compute gives",
    states.UNKNOWN: "too few checkpoints to tell",
}
_BIBTEX = """@inproceedings{schaeffer2025elusive,
  title     = {Why Has Predicting Downstream Capabilities of Frontier {AI} Models with Scale Remained Elusive?},
  author    = {Schaeffer, Rylan and Schoelkopf, Hailey and Miranda, Brando and Mukobi, Gabriel and Madan, Varun and
               Ibrahim, Adam and Bradley, Herbie and Biderman, Stella and Koyejo, Sanmi},
  booktitle = {International Conference on Machine Learning},
  year      = {2025},
  eprint    = {2406.04391},
  archivePrefix = {arXiv}
}"""


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
    headline: PathLike
    correlation_statistics: PathLike
    attribution: PathLike
    mechanism: PathLike
    null_bands: PathLike
    null_curves: PathLike
    ceiling: PathLike
    checkpoint_intervals: PathLike
    authors_variants: PathLike
    predictability: PathLike
    means: PathLike
    aggregates: PathLike
    reference: PathLike
    audit: PathLike

    def frame(self, name: str) -> pd.DataFrame:
        """The table called ``name``, its contract's columns checked."""
        return tables.read_table(getattr(self, name), name).to_pandas()


def pack_text(value: Any) -> str:
    """``value`` as JSON, deflated, in Base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack_text(packed: str) -> Any:
    """What :func:`pack_text` packed: for tests, and for whoever wants the items out of a page."""
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def pack_items(drilldown: Mapping[str, Any]) -> dict[str, Any]:
    """The items of one benchmark for the page: without the curves, log-likelihoods in hundredths of a nat."""

    def hundredths(values: Sequence[float | None]) -> list[int | None]:
        return [None if value is None else round(value * 100) for value in values]

    families = {
        name: {key: value for key, value in family.items() if key != "curves"}
        for name, family in drilldown["families"].items()
    }
    cards = [
        card | {"log_likelihood": [hundredths(values) for values in card["log_likelihood"]]}
        for card in drilldown["cards"]
    ]
    return {**drilldown, "families": families, "cards": cards}


def pack_curves(drilldowns: Sequence[Mapping[str, Any]], chance: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The quantiles of every benchmark, family, method and metric for the page: little-endian int16 in Base64.

    In the order of benchmarks, families and :data:`~elusive.report.curves.SERIES`; a curve without items is
    all -32768. ``undefined``, ``items`` and ``checkpoints`` are in the same order; ``chance``: family -> method -> what
    :func:`~elusive.report.curves.chance_curves` returns.
    """
    families = list(chance)
    blocks, undefined, items, checkpoints = [], [], [], []
    for drilldown in drilldowns:
        for family in families:
            found = drilldown["families"][family]["curves"]
            blocks += [[-32768] * LEVELS if curve is None else curve for curve in found["curves"]]
            undefined += found["undefined"]
            items.append(found["num_items"])
            checkpoints.append(found["num_models"])
    return {
        "levels": LEVELS,
        "scale": SCALE,
        "series": [{"method": method, "metric": metric} for method, metric in SERIES],
        "families": families,
        "data": base64.b64encode(np.array(blocks, dtype="<i2").tobytes()).decode(),
        "undefined": undefined,
        "items": items,
        "checkpoints": checkpoints,
        "chance": {family: dict(found) for family, found in chance.items()},
    }


def pack_means(means: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """Mean scores for the page: float32 [benchmarks, metrics, checkpoints] in Base64, NaN where there is none."""
    trained = means[["model", "checkpoint", "flops"]].drop_duplicates()
    trained = trained[trained["flops"] > 0].sort_values(["flops", "model", "checkpoint"])
    place = {key: i for i, key in enumerate(zip(trained["model"], trained["checkpoint"], strict=True))}
    metrics = [metric for metric in MEANS if (means["metric"] == metric).any()]
    values = np.full((len(benchmarks), len(metrics), len(place)), np.nan, np.float32)
    for b, benchmark in enumerate(benchmarks):
        own = means[means["benchmark"] == benchmark.name]
        for m, metric in enumerate(metrics):
            rows = own[own["metric"] == metric]
            for model, checkpoint, value in zip(rows["model"], rows["checkpoint"], rows["mean"], strict=True):
                if (model, checkpoint) in place:
                    values[b, m, place[model, checkpoint]] = value
    return {
        "metrics": metrics,
        "models": trained["model"].tolist(),
        "checkpoints": trained["checkpoint"].tolist(),
        "flops": trained["flops"].tolist(),
        "data": base64.b64encode(values.astype("<f4").tobytes()).decode(),
    }


def what_was_run(checkpoints: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> str:
    """One line: how many checkpoints of how many models, over what compute, on how many benchmarks and items."""

    def count(number: int, what: str) -> str:
        return f"{number:,} {what}{'s' * (number != 1)}"

    compute = run.spread(checkpoints.loc[checkpoints["flops"] > 0, "flops"], format_power)
    items = sum(b.num_items for b in benchmarks)
    return (
        f"{count(len(checkpoints), 'checkpoint')} of {count(checkpoints['model'].nunique(), 'model')}, {compute} "
        f"training FLOPs, {count(len(benchmarks), 'benchmark')}, {count(items, 'item')}."
    )


def _orders(
    frames: Mapping[str, pd.DataFrame], benchmarks: Sequence[Benchmark], strips: Mapping[str, headline.Strip]
) -> list[dict[str, Any]]:
    """Of each family, whether the paper's order is there on each benchmark."""
    attribution = dict(list(frames["attribution"].groupby(["family", "benchmark"], sort=False)))
    means = dict(list(frames["headline"].groupby(["family", "benchmark"], sort=False)))
    result = []
    for family, strip in strips.items():
        following = {b.name for b in strip.with_state("log_p_vocab_correct", states.FOLLOWS)}
        rows = []
        for benchmark in benchmarks:
            key = (family, benchmark.name)
            empty = frames["attribution"].iloc[:0], frames["headline"].iloc[:0]
            own = attribution.get(key, empty[0]), means.get(key, empty[1])
            rows.append(
                (benchmark, [order.find_order(*own, method, benchmark.name in following) for method in order.METHODS])
            )
        listed = [{"benchmark": benchmark, "orders": found} for benchmark, found in rows]
        result.append({"family": family, "rows": listed, "summary": order.summary(rows, strip.conclusive)})
    return result


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
    gallery: PathLike,
    record: PathLike | None = None,
    config: Mapping[str, Any] | None = None,
    forecasts: Mapping[str, PathLike] | None = None,
) -> None:
    """Write the report to ``output`` and the page of all figures to ``gallery``; the same inputs give the same bytes.

    ``items``: items tables, in the order in which benchmarks are shown; ``logprobs``: a table of log-likelihoods of
    each checkpoint, of which only the metadata are read; ``summary``: the summary tables; ``drilldowns``: the items to
    look at, a file a benchmark. ``figures`` names each figure (``kind`` or ``kind/benchmark``), ``pngs`` and
    ``captions`` are its files. ``families``: name -> label, in order; ``plotted``: those of which the page has numbers,
    the first being the one whose findings come first; ``members``: name -> list of (model, checkpoint). ``record``: the
    file of :func:`~elusive.report.run.write_record`, which the page links; ``config``: the resolved configuration;
    ``forecasts``: the tables of forecasts by their names, where there are any.
    """
    benchmarks = [read_benchmark(path) for path in items]
    frames = {field.name: summary.frame(field.name) for field in fields(summary)}
    scored = [tables.read_metadata(path) for path in logprobs]
    labels = summaries.labels_of(benchmarks)
    shown_families = {name: families[name] for name in plotted}
    main = plotted[0]
    runs = read_drilldowns(drilldowns)
    by_name = {found["benchmark"]: found for found in runs}
    runs = [by_name[b.name] for b in benchmarks]
    table_files = {field.name: Path(getattr(summary, field.name)).with_suffix(".csv") for field in fields(summary)}
    table_files |= {name: Path(path).with_suffix(".csv") for name, path in (forecasts or {}).items()}
    read_forecasts = forecast.read(forecasts) if forecasts else {}
    foreseen = forecast.sections(read_forecasts, frames["scores"], benchmarks, plotted) if forecasts else []

    strips = []
    for family, label in shown_families.items():
        strip = headline.make_strip(frames, benchmarks, family, label, members[family])
        over = f" over the {strip.num_models} checkpoints of “{label}”" if len(shown_families) > 1 else ""
        strips.append(
            {
                "strip": strip,
                "what": f"Mean correlation of an item's score with log compute{over}.",
                "sentences": sentences.first_screen(strip, frames, members[family]),
            }
        )
    by_family = {entry["strip"].family: entry["strip"] for entry in strips}

    trained = frames["checkpoints"]
    chance = {family: chance_curves(frames["null_curves"], family) for family in shown_families}

    pngs_by_name = dict(zip(figures, pngs, strict=True))
    listed = [pictures.read_figure(*entry, labels, output) for entry in zip(figures, pngs, captions, strict=True)]
    found_kinds = dict.fromkeys(
        [*(k for k in pictures.KINDS if any(f.kind == k for f in listed)), *(f.kind for f in listed)]
    )
    kinds = {kind: pictures.KINDS.get(kind, kind) for kind in found_kinds}
    by_kind = {kind: [f for f in listed if f.kind == kind] for kind in kinds}
    shown_figures = [replace(figure, uri=uri) for figure, uri in pictures.shown_on_page(listed, pngs_by_name)]
    most_moving = forecast.most_moving(read_forecasts["laws"], benchmarks, main) if foreseen else ""
    forecast_figures = [
        replace(figure, uri=uri) for figure, uri in pictures.shown_with_forecasts(listed, pngs_by_name, most_moving)
    ]

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

    arrows = drawings.arrow_range(by_family[family] for family in shown_families)
    lost, reasons, means_text = {}, {}, {}
    for family in shown_families:
        strip = by_family[family]
        lost[family] = [
            sentences.where_it_is_lost(strip, frames["attribution"]),
            sentences.pearson_range(strip, frames["attribution"]),
            sentences.costly_steps(strip, frames["attribution"]),
            sentences.answered_alike(frames["correlation_statistics"], benchmarks, family),
        ]
        reasons[family] = [
            sentences.why(strip, frames["mechanism"]),
            sentences.together(strip, frames["mechanism"]),
            sentences.loss_with_comovement(strip, frames["mechanism"]),
        ]
        means_text[family] = sentences.opposite_means(frames["headline"], benchmarks, family)

    drawn = drawings.Drawings(by_family[main], benchmarks, runs, frames["means"], chance[main])
    signals = findings.signals(frames["scores"], benchmarks)
    audited = audit.groups(frames["audit"])
    # Addresses of downloads, as this page links them.
    files = {
        "tables": {name: pictures.relative(path, output) for name, path in table_files.items()},
        "dictionary": pictures.relative(Path(summary.checkpoints).with_name("data_dictionary.csv"), output),
        "gallery": pictures.relative(gallery, output),
        "record": pictures.relative(record, output) if record else None,
    }
    sections = {
        "overview": "Answer",
        "scores": "Which score",
        "lost": "Where lost",
        "why": "Why",
        **({"forecast": "Forecast"} if foreseen else {}),
        "items": "Items",
        "curves": "Details",
        "run": "Run",
    } | ({"audit": "Audit"} if audited else {})
    page_data = {
        "families": [
            {"name": name, "label": label, "members": [list(member) for member in members[name]]}
            for name, label in shown_families.items()
        ],
        "benchmarks": [{"name": b.name, "label": b.label, "chance": b.chance} for b in benchmarks],
        "metrics": [{"name": m.column, "label": m.plain} for m in METRICS],
        "seen": {method: [m.column for m in metrics_seen_by(method)] for method in ("pearson", "spearman", "kendall")},
        "names": summaries.METRIC_NAMES,
        "shown": drawn.line.benchmark.name,
        "figures": {f.name: {"gallery": f"{files['gallery']}#{f.anchor}", "pdf": f.pdf, "csv": f.csv} for f in listed},
        "statistics": files["tables"]["correlation_statistics"],
    }
    text = (
        page.environment()
        .get_template("layout.html.j2")
        .render(
            style=page.style(),
            script=page.script(),
            title=TITLE,
            what_was_run=what_was_run(trained, benchmarks),
            plain=PLAIN,
            states=_STATES,
            rows_shown=ROWS_SHOWN,
            rows_high=ROWS_HIGH,
            words=WORDS,
            sections=sections,
            benchmarks=benchmarks,
            families=list(shown_families),
            labels=families,
            further=len(families) - len(shown_families),
            strips=strips,
            orders=_orders(frames, benchmarks, by_family),
            chain_item=drawn.chain_item(),
            which_score=[sentences.which_score(frames["predictability"], benchmarks, main)],
            arrows={family: drawings.arrow_rows(by_family[family], arrows) for family in shown_families},
            arrow_axis=drawings.arrow_axis(arrows),
            arrow_zero=drawings.arrow_zero(arrows),
            lost=lost,
            reasons=reasons,
            forecasts=foreseen,
            forecast_figures=forecast_figures if foreseen else [],
            choices_chart=drawn.right_and_wrong(),
            one_item=drawn.one_item(),
            scatter_svg=drawn.scatter(),
            curves_svg=drawn.survival(),
            curves_caption=drawn.survival_caption(),
            how_to_read=drawn.how_to_read(),
            means_svg=drawn.mean_scores(),
            means_caption=drawn.mean_scores_caption(),
            means_text=means_text,
            chance_text=[
                sentences.one_by_chance(frames["null_bands"], main, shown_families[main]),
                sentences.beyond_chance(by_family[main]),
            ],
            run_text=[
                sentences.reference_text(by_family[main], frames["ceiling"]),
                findings.signal_text(signals),
            ],
            signals=signals,
            models=run.model_rows(trained),
            family_table=run.family_rows(trained, families, members),
            kinds=kinds,
            figures=by_kind,
            shown_figures=shown_figures,
            tables={name: pack_text(table) for name, table in packed.items()},
            only_chain=only_chain,
            has_subjects=bool(frames["correlation_statistics"]["subject"].notna().any()),
            short=short,
            files=files,
            page_data=page_data,
            curves=pack_curves(runs, chance),
            means=pack_means(frames["means"], benchmarks),
            drilldowns=[{"packed": pack_text(pack_items(found))} for found in runs],
            published=published_rows(frames["reference"], labels),
            published_summary=published_summary(frames["reference"], labels),
            published_sources=published_sources(frames["reference"]),
            limits=(f"{AGREES:g}", f"{NEAR:g}"),
            audit=audited,
            audit_summary=audit.summary(audited),
            notes=[
                *findings.notes(benchmarks, shown_families, frames["null_bands"]),
                *imported_notes(scored, frames["correlation_statistics"], benchmarks, shown_families, members),
            ],
            provenance=run.provenance(scored, config, run.newest(logprobs) if logprobs else None),
            bibtex=_BIBTEX,
        )
    )
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    pictures.write_gallery(by_kind, kinds, os.path.relpath(output, Path(gallery).parent), gallery)
    logger.info("wrote %s: %d figures, %.1f MB", output, len(listed), len(text.encode()) / 1e6)
