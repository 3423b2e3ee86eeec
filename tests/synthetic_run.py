"""A small run of the workflow made of synthetic log-likelihoods whose dependence on compute is known.

The log-likelihood of choice k of item i under a checkpoint of compute F is ``a[i, k] + b[i, k] * log10(F) + noise``.
All choices of an item share most of their slope, so that log p_vocab follows compute closely while p_choices, which
sees only differences between choices, follows it loosely: the paper's mechanism.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from elusive import tables
from elusive.analysis.aggregates import write_aggregates
from elusive.analysis.attribution import write_attribution
from elusive.analysis.audit import write_audit
from elusive.analysis.authors import write_authors_variants
from elusive.analysis.ceiling import write_ceiling
from elusive.analysis.checkpoints import write_checkpoints
from elusive.analysis.choices import write_choices
from elusive.analysis.correlations import write_correlations
from elusive.analysis.mechanism import Inputs, write_mechanism
from elusive.analysis.metrics import write_metrics
from elusive.analysis.null import write_null_bands
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.reference import write_reference
from elusive.analysis.scores import write_scores
from elusive.analysis.statistics import write_statistics
from elusive.configuration.forecasting import Target
from elusive.forecast.cells import PARTS, write_cells
from elusive.forecast.decisions import write_decisions
from elusive.forecast.gather import TABLES as FORECAST_TABLES
from elusive.forecast.gather import write_forecasts
from elusive.report.drilldown import write_drilldown
from elusive.report.forecast import TABLES as FORECASTS
from elusive.report.report import Tables

CHOICES = {
    "arc_easy": ("ARC-Easy", 4),
    "arc_challenge": ("ARC-Challenge", 4),
    "hellaswag": ("HellaSwag", 4),
    "mmlu": ("MMLU", 4),
    "openbookqa": ("OpenBookQA", 4),
    "piqa": ("PIQA", 2),
    "sciq": ("SciQ", 4),
    "social_iqa": ("Social IQa", 3),
    "winogrande": ("WinoGrande", 2),
}
SIZES = [280_000, 500_000, 780_000, 1_050_000, 1_520_000]
STEPS = [32_768 * 2**k for k in range(7)]
PER_BENCHMARK = ("survival", "scores", "masses", "choices", "means", "entropy", "methods", "densities", "by_family")
PER_BENCHMARK += ("pairs", "agreement", "families")
PUBLISHED = sorted((Path(__file__).parent.parent / "workflow/registry/reference").glob("*.csv"))


@dataclass(frozen=True)
class World:
    """What a synthetic run is of: its checkpoints, and how log-likelihoods depend on compute.

    ``slope`` is the nats per tenfold compute that an item's choices gain together, on average over items, and
    ``deviation`` how it varies over items; the right choice gains ``advantage`` more, and starts ``ahead``.
    ``unequal``: items have 2 to 5 choices. ``families``: which of the three there are.
    """

    sizes: tuple[int, ...] = tuple(SIZES)
    steps: tuple[int, ...] = tuple(STEPS)
    slope: float = 4.0
    deviation: float = 2.0
    advantage: float | None = None
    ahead: float = 0.0
    unequal: bool = False
    families: tuple[str, ...] = ("ladder", "ladder-tokens", "ladder-sizes")


@dataclass(frozen=True)
class SyntheticRun:
    """Where the tables of a synthetic run are; ``families`` maps a family's name to its label."""

    root: Path
    families: dict[str, str]
    benchmarks: tuple[str, ...]
    world: World = World()

    def described(self) -> dict[str, list[dict[str, Any]]]:
        """Name -> checkpoints of each family."""
        return {name: frame.to_dict("records") for name, (_, frame) in _family_members(self.world).items()}

    def items(self) -> list[Path]:
        return [self.root / f"items/{b}.parquet" for b in self.benchmarks]

    def metrics(self, benchmark: str) -> list[Path]:
        return [self.root / f"metrics/{f}/{benchmark}.parquet" for f in self.families]

    def correlations(self, benchmark: str) -> list[Path]:
        return [self.root / f"correlations/{f}/{benchmark}.parquet" for f in self.families]

    def logprobs(self) -> list[Path]:
        return sorted(self.root.glob("logprobs/*/*/*.parquet"))

    def members(self) -> dict[str, list[list[str]]]:
        families = _family_members(self.world)
        return {name: frame[["model", "checkpoint"]].to_numpy().tolist() for name, (_, frame) in families.items()}

    def table(self, name: str) -> Path:
        return self.root / f"tables/{name}.parquet"

    def forecasts(self) -> dict[str, Path]:
        """The tables of forecasts that the report reads, if :func:`make_forecasts` has been called."""
        return {name: path for name in FORECASTS.values() if (path := self.table(name)).exists()}

    def drilldown(self, benchmark: str) -> Path:
        return self.root / f"drilldown/{benchmark}.json"


def _checkpoints(world: World = World()) -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            {"model": f"ladder-{i}", "checkpoint": f"tokens-{d}", "parameters": n, "tokens": d}
            for (i, n), d in itertools.product(enumerate(world.sizes), world.steps)
        ]
    )
    frame["parameters_nonembedding"] = frame["parameters"] // 2
    frame["flops"] = 6.0 * frame["parameters"] * frame["tokens"]
    frame["validation_loss"] = 3.0 + 14.0 * frame["flops"] ** -0.06 * frame["parameters"] ** -0.04
    return frame


def _family_members(world: World = World()) -> dict[str, tuple[str, pd.DataFrame]]:
    checkpoints = _checkpoints(world)
    largest = checkpoints["model"] == f"ladder-{len(world.sizes) - 1}"
    last = checkpoints["tokens"] == world.steps[-1]
    members = {
        "ladder": ("Ladder (all)", checkpoints),
        "ladder-tokens": ("Ladder, largest model (data scaling)", checkpoints[largest]),
        "ladder-sizes": ("Ladder, end of training (parameter scaling)", checkpoints[last]),
    }
    return {name: (members[name][0], members[name][1].sort_values("flops")) for name in world.families}


def made_run(root: Path, benchmarks: tuple[str, ...], world: World = World()) -> SyntheticRun:
    """The run that :func:`make_run` has made, or makes, below ``root``."""
    families = {name: label for name, (label, _) in _family_members(world).items()}
    return SyntheticRun(root, families, tuple(benchmarks), world)


def make_run(
    root: Path,
    num_items: int = 400,
    benchmarks: tuple[str, ...] = tuple(CHOICES),
    seed: int = 0,
    world: World = World(),
) -> SyntheticRun:
    """Write the tables of a synthetic run below ``root``; every stage after the scores is the real one."""
    checkpoints = _checkpoints(world)
    run = made_run(root, benchmarks, world)
    families = run.families
    for number, benchmark in enumerate(benchmarks):
        generator = np.random.default_rng([seed, number])
        counts = np.full(num_items, CHOICES[benchmark][1])
        if world.unequal:
            counts = 2 + np.arange(num_items) % 4
        gold = generator.integers(0, counts)
        items = _write_items(root, benchmark, gold, seed, counts=counts)
        scores = _log_likelihoods(generator, benchmark, gold, checkpoints["flops"].to_numpy(), counts, world)
        for row, values in zip(checkpoints.itertuples(), scores, strict=True):
            _write_logprobs(root, row, benchmark, items, gold, values, counts=counts)
        named = _family_members(world)
        outputs = {
            kind: {family: root / f"{kind}/{family}/{benchmark}.parquet" for family in named}
            for kind in ("metrics", "correlations", "choices")
        }
        scored = {
            "logprobs": sorted(root.glob(f"logprobs/*/*/{benchmark}.parquet")),
            "items": root / f"items/{benchmark}.parquet",
            "families": {family: members.to_dict("records") for family, (_, members) in named.items()},
            "benchmark": benchmark,
        }
        write_metrics(**scored, outputs=outputs["metrics"])
        write_choices(**scored, outputs=outputs["choices"])
        write_correlations(metrics=outputs["metrics"], benchmark=benchmark, outputs=outputs["correlations"])
        write_drilldown(**drilldown_inputs(run, benchmark), output=run.drilldown(benchmark))
    training = []
    for row in checkpoints.itertuples():
        training.append(root / f"training/{row.model}-{row.checkpoint}.json")
        training[-1].parent.mkdir(exist_ok=True)
        record = {"model": row.model, "checkpoint": row.checkpoint, "validation_loss": row.validation_loss}
        training[-1].write_text(json.dumps(record))

    def outputs(name: str) -> dict[str, Path]:
        return {"output_parquet": run.table(name), "output_csv": run.table(name).with_suffix(".csv")}

    correlations = sorted(root.glob("correlations/*/*.parquet"))
    write_statistics(correlations=correlations, items=run.items(), **outputs("correlation_statistics"))
    write_mechanism(
        inputs=[
            Inputs(*(root / f"{kind}/{family}/{b}.parquet" for kind in ("choices", "correlations", "metrics")))
            for family in families
            for b in benchmarks
        ],
        items=run.items(),
        mechanism_parquet=run.table("mechanism"),
        mechanism_csv=run.table("mechanism").with_suffix(".csv"),
        drops_parquet=run.table("mechanism_drops"),
        drops_csv=run.table("mechanism_drops").with_suffix(".csv"),
    )
    write_aggregates(
        metrics=sorted(root.glob("metrics/*/*.parquet")),
        items=run.items(),
        families=run.described(),
        means_parquet=run.table("means"),
        means_csv=run.table("means").with_suffix(".csv"),
        aggregates_parquet=run.table("aggregates"),
        aggregates_csv=run.table("aggregates").with_suffix(".csv"),
    )
    write_attribution(correlations=correlations, items=run.items(), **outputs("attribution"))
    described = run.described()
    metrics = sorted(root.glob("metrics/*/*.parquet"))
    curves = {"curves_parquet": run.table("null_curves"), "curves_csv": run.table("null_curves").with_suffix(".csv")}
    write_null_bands(families=described, items=run.items(), **outputs("null_bands"), **curves)
    paths = {name: tuple(outputs(name).values()) for name in TABLES}
    write_over_checkpoints(metrics=metrics, items=run.items(), outputs=paths)
    write_audit(
        logprobs=run.logprobs(),
        metrics={(f, b): root / f"metrics/{f}/{b}.parquet" for f in families for b in benchmarks},
        items=dict(zip(benchmarks, run.items(), strict=True)),
        means=run.table("means"),
        families=described,
        **outputs("audit"),
    )
    write_authors_variants(metrics=metrics, **outputs("authors_variants"))
    write_scores(metrics=sorted(root.glob("metrics/*/*.parquet")), **outputs("scores"))
    write_checkpoints(checkpoints=checkpoints.to_dict("records"), training=training, **outputs("checkpoints"))
    write_ceiling(families=described, checkpoints=run.table("checkpoints"), **outputs("ceiling"))
    write_reference(
        scores=run.table("scores"),
        items=run.items(),
        published=PUBLISHED,
        trained=set(checkpoints["model"]),
        **outputs("reference"),
    )
    return run


def make_forecasts(run: SyntheticRun) -> None:
    """Write the tables of forecasts of a run, with one target of every family, and the items to look at with them.

    Every stage is the real one.
    """
    families = {name: members.to_dict("records") for name, (_, members) in _family_members(run.world).items()}

    def file(part: str, family: str, benchmark: str) -> Path:
        if part == "probabilities":
            return run.root / f"forecast_items/{family}/{benchmark}.parquet"
        return run.root / f"forecasts/{family}/{benchmark}/{part}.parquet"

    for benchmark in run.benchmarks:
        write_cells(
            logprobs=sorted(run.root.glob(f"logprobs/*/*/{benchmark}.parquet")),
            items=run.root / f"items/{benchmark}.parquet",
            families=families,
            groups={"ladder": families["ladder"]},
            benchmark=benchmark,
            targets=[Target(family, 2 * SIZES[-1], 2 * STEPS[-1], "Twice both") for family in families],
            metrics=["accuracy", "p_choices_correct", "brier", "log_p_vocab_correct"],
            draws=50,
            subjects=False,
            outputs={family: {part: file(part, family, benchmark) for part in PARTS} for family in families},
            decisions=run.root / f"decisions/{benchmark}.parquet",
        )
    cells = [(family, benchmark) for family in families for benchmark in run.benchmarks]
    write_forecasts(
        parts={part: [file(part, *cell) for cell in cells] for part in PARTS if part != "probabilities"},
        outputs={
            f"{name}_{suffix}": run.root / f"tables/{name}.{suffix}"
            for name in FORECAST_TABLES
            for suffix in ("parquet", "csv")
        },
    )
    write_decisions(
        parts=[run.root / f"decisions/{benchmark}.parquet" for benchmark in run.benchmarks],
        output_parquet=run.table("decisions"),
        output_csv=run.table("decisions").with_suffix(".csv"),
    )
    for benchmark in run.benchmarks:
        write_drilldown(**drilldown_inputs(run, benchmark), output=run.drilldown(benchmark))


@dataclass(frozen=True)
class Planted:
    """What a checkpoint gets right on a benchmark: the first ``correct`` items by ``accuracy``, and likewise the first
    ``correct_norm`` by ``accuracy_norm``."""

    model: str
    checkpoint: str
    benchmark: str
    correct: int
    correct_norm: int


def make_planted_reference(
    root: Path,
    planted: list[Planted],
    items: dict[str, dict[str, Any]],
    published: list[Path] = PUBLISHED,
    trained: tuple[str, ...] = (),
) -> Path:
    """Write log-likelihoods with the accuracies ``planted``, and through the real stages the table ``reference``.

    ``items``: benchmark -> ``num_items`` and the metadata of its items table that matter. Each benchmark must have the
    same checkpoints. The path of the table is returned; scores and items tables are beside it.
    """
    for benchmark, about in items.items():
        gold = np.arange(about["num_items"]) % CHOICES[benchmark][1]
        names = _write_items(root, benchmark, gold, 0, about)
        members = []
        for number, plant in enumerate(p for p in planted if p.benchmark == benchmark):
            row = {"model": plant.model, "checkpoint": plant.checkpoint, "parameters": 10**6 + number, "tokens": 10**6}
            members.append(row | {"flops": 6.0 * row["parameters"] * row["tokens"], "parameters_nonembedding": 10**5})
            order = np.arange(len(gold))
            right, right_norm = (order < plant.correct)[:, None], (order < plant.correct_norm)[:, None]
            is_gold = np.arange(CHOICES[benchmark][1]) == gold[:, None]
            scores = np.where(is_gold == right, -10.0, -20.0)
            # 20 characters keep the order of the scores; 5 for the better ones put these last per character.
            chars = np.where((right != right_norm) & (is_gold == right), 5, 20)
            _write_logprobs(root, pd.Series(members[-1]), benchmark, names, gold, scores, chars)
        write_metrics(
            logprobs=sorted(root.glob(f"logprobs/*/*/{benchmark}.parquet")),
            items=root / f"items/{benchmark}.parquet",
            families={"planted": members},
            benchmark=benchmark,
            outputs={"planted": root / f"metrics/planted/{benchmark}.parquet"},
            allow_duplicates=["planted"],
        )
    (root / "tables").mkdir(exist_ok=True)
    scores = root / "tables/scores.parquet"
    write_scores(
        metrics=sorted(root.glob("metrics/planted/*.parquet")),
        output_parquet=scores,
        output_csv=root / "tables/scores.csv",
    )
    output = root / "tables/reference.parquet"
    write_reference(
        scores=scores,
        items=sorted(root.glob("items/*.parquet")),
        published=published,
        trained=trained,
        output_parquet=output,
        output_csv=output.with_suffix(".csv"),
    )
    return output


def planted_disagreements(root: Path) -> Path:
    """A table ``reference`` with two accuracies that agree, one near, one that differs and two not comparable."""
    planted = [
        # Published: 888 of 2,376 and, per character, 832; one standard error is 24 or 23 items.
        Planted("pythia-70m", "step143000", "arc_easy", 888, 832 + 35),
        # Published: 0.38 and 0.41 in three decimals, nearest to 903 and 974 of 2,376.
        Planted("cerebras-gpt-111m", "main", "arc_easy", 903 + 80, 0),
        Planted("cerebras-gpt-256m", "main", "arc_easy", 974, 2376),
        Planted("pythia-14m", "step143000", "arc_easy", 888, 836),
        Planted("pythia-70m", "step143000", "sciq", 601, 540),
    ]
    items = {
        "arc_easy": {"num_items": 2376, "num_items_total": 2376, "split": "test"},
        "sciq": {"num_items": 1000, "num_items_total": 1000, "split": "validation"},
    }
    return make_planted_reference(root, planted, items)


def _write_items(
    root: Path,
    benchmark: str,
    gold: np.ndarray,
    seed: int,
    about: dict[str, Any] | None = None,
    counts: np.ndarray | None = None,
) -> list[str]:
    label, choices = CHOICES[benchmark]
    count = len(gold)
    if counts is None:
        counts = np.full(count, choices)
    names = [f"{benchmark}/{i:05d}" for i in range(count)]
    table = {
        "item": names,
        "subject": [f"subject_{i * 3 // count}" if benchmark == "mmlu" else None for i in range(count)],
        "contexts": [["Question?"]] * count,
        "continuations": [[f" choice {k} of item {i}" for k in range(counts[i])] for i in range(count)],
        "gold": gold,
        "num_choices": counts,
    }
    note = "the validation split stands in for the test split" if benchmark == "sciq" else None
    metadata = {
        "benchmark": benchmark,
        "label": label,
        "source": "archive",
        "dataset": benchmark,
        "split": "validation" if note else "test",
        "split_note": note,
        "protocol": "lm-eval-0.4 zero-shot",
        "num_items_total": 1172,
        "limit": count,
        "seed": seed,
        "chance": float((1 / counts).mean()),
        "version": 1,
    }
    metadata |= about or {}
    tables.write_table(pa.table(table), root / f"items/{benchmark}.parquet", "items", metadata)
    return names


def _log_likelihoods(
    generator: np.random.Generator,
    benchmark: str,
    gold: np.ndarray,
    flops: np.ndarray,
    counts: np.ndarray,
    world: World,
) -> np.ndarray:
    """Log-likelihoods [checkpoints, items, choices], below 0; on SciQ the correct choice rises clearly faster.

    Choices past an item's number are there, and not written.
    """
    items, choices = len(gold), int(counts.max())
    x = np.log10(flops)[:, None, None] - 12.0
    right = np.arange(choices) == gold[:, None]
    level = (
        generator.normal(-40.0, 8.0, (items, 1)) + generator.normal(0.0, 3.0, (items, choices)) + right * world.ahead
    )
    slope = generator.normal(world.slope, world.deviation, (items, 1))
    slope = slope + generator.normal(0.0, 0.3 * world.deviation, (items, choices))
    slope += right * (world.advantage if world.advantage is not None else 1.5 if benchmark == "sciq" else 0.1)
    noise = generator.normal(0.0, 0.8, (len(flops), items, choices))
    return np.minimum(level + slope * x + noise, -0.01)


def _write_logprobs(
    root: Path,
    row: Any,
    benchmark: str,
    items: list[str],
    gold: np.ndarray,
    scores: np.ndarray,
    chars: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> None:
    num_items, choices = scores.shape
    table = pa.table(
        {
            "item": np.repeat(items, choices),
            "choice": np.tile(np.arange(choices), num_items),
            "is_gold": (np.arange(choices) == gold[:, None]).reshape(-1),
            "log_likelihood": scores.reshape(-1),
            "num_tokens": np.full(scores.size, 6),
            "num_bytes": np.full(scores.size, 20),
            "num_chars": np.full(scores.size, 20) if chars is None else chars.reshape(-1),
            "is_greedy": scores.reshape(-1) > -20.0,
        }
    )
    if counts is not None:
        table = table.filter(pa.array((np.arange(choices) < counts[:, None]).reshape(-1)))
    metadata = {"model": row.model, "checkpoint": row.checkpoint, "source": "ladder", "parameters": row.parameters}
    metadata |= {"revision": None, "parameters_nonembedding": row.parameters_nonembedding}
    metadata |= {"tokens": row.tokens, "flops": row.flops, "dtype": "float32", "device": "cpu", "path": "plain"}
    metadata |= {"scorer": 1, "protocol": "lm-eval-0.4 zero-shot", "add_bos_token": False, "max_length": 512}
    metadata |= {"versions": {"elusive": "0.1.0", "torch": "2.13.0", "transformers": "5.24.0"}}
    path = root / f"logprobs/{row.model}/{row.checkpoint}/{benchmark}.parquet"
    tables.write_table(table, path, "logprobs", metadata)


def draw_figure(run: SyntheticRun, name: str, folder: Path) -> dict[str, Path]:
    """Draw the figure called ``name`` (as in the report) of a synthetic run; the paths of its files."""
    from elusive.figures import accuracy, attribution, benchmark, example, hero, loss, mechanism, statistics, subjects

    kind, _, rest = name.partition("/")
    suffixes = {"png": "png", "pdf": "pdf", "caption": "txt", "data": "csv"}

    def files(figure: str) -> dict[str, Path]:
        return {key: folder / f"{figure}.{suffix}" for key, suffix in suffixes.items()}

    outputs = files(name)
    everything = {"items": run.items(), "families": run.families, "outputs": outputs}
    if kind in PER_BENCHMARK:
        benchmark.write_benchmark(
            metrics=run.metrics(rest),
            correlations=run.correlations(rest),
            single_choices=[run.root / f"choices/{family}/{rest}.parquet" for family in run.families],
            means_table=run.table("means"),
            statistics=run.table("correlation_statistics"),
            null_bands=run.table("null_bands"),
            null_curves=run.table("null_curves"),
            items=run.root / f"items/{rest}.parquet",
            families=run.families,
            outputs={kind: outputs},
        )
    elif kind == "statistics":
        intervals = run.table("headline")
        statistics.write_statistics(
            statistics=run.table("correlation_statistics"), intervals=intervals, method=rest, **everything
        )
    elif kind == "subjects":
        name, method = rest.split("-")
        items = run.root / f"items/{name}.parquet"
        subjects.write_subjects(
            statistics=run.table("correlation_statistics"), method=method, **everything | {"items": items}
        )
    elif kind == "mechanism":
        tables = {"mechanism": run.table("mechanism"), "drops": run.table("mechanism_drops")}
        mechanism.write_mechanism(**tables, **everything)
    elif kind == "attribution":
        attribution.write_attribution(attribution=run.table("attribution"), method=rest, **everything)
    elif kind in ("accuracy", "scaling"):
        accuracy.write_accuracy(
            scores=run.table("scores"),
            means=run.table("means"),
            members=run.members(),
            **everything | {"outputs": files("accuracy"), "scaling_outputs": files("scaling")},
        )
    elif kind == "hero":
        hero.write_hero(headline=run.table("headline"), ceiling=run.table("ceiling"), **everything)
    elif kind == "example":
        example.write_example(outputs=outputs)
    elif kind == "loss":
        loss.write_loss(checkpoints=run.table("checkpoints"), outputs=outputs)
    else:
        raise ValueError(f"nothing here draws the figure {name}")
    return outputs


def drilldown_inputs(run: SyntheticRun, benchmark: str) -> dict[str, Any]:
    """What ``write_drilldown`` is called with for a benchmark, but for its output."""
    foreseen = {family: run.root / f"forecast_items/{family}/{benchmark}.parquet" for family in run.families}
    return {
        "logprobs": sorted(run.root.glob(f"logprobs/*/*/{benchmark}.parquet")),
        "items": run.root / f"items/{benchmark}.parquet",
        "correlations": {family: run.root / f"correlations/{family}/{benchmark}.parquet" for family in run.families},
        "members": run.described(),
        "probabilities": {family: path for family, path in foreseen.items() if path.exists()},
    }


def report_inputs(run: SyntheticRun, figures: Path) -> dict[str, Any]:
    """What ``write_report`` is called with, but for its output; ``figures`` is the folder that they were drawn in."""
    captions = sorted(figures.glob("**/*.txt"))
    return {
        "items": run.items(),
        "logprobs": run.logprobs(),
        "summary": Tables(**{field.name: run.table(field.name) for field in fields(Tables)}),
        "drilldowns": [run.drilldown(benchmark) for benchmark in run.benchmarks],
        "figures": [str(path.relative_to(figures).with_suffix("")) for path in captions],
        "pngs": [path.with_suffix(".png") for path in captions],
        "captions": captions,
        "families": run.families,
        "plotted": list(run.families),
        "members": run.members(),
        "gallery": figures.parent / "figures.html",
        "forecasts": run.forecasts(),
    }
