"""The registry: everything that a configuration asks for, checked before anything runs.

:func:`load` turns the configuration that Snakemake merged from its files into frozen objects. Whatever is wrong
with it ends in an :class:`ElusiveError` that names the file, the key, the value and what is allowed.

Snakemake imports this module whenever it parses the workflow, so it imports nothing heavy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elusive.configuration.benchmarks import LADDER, Benchmark, build_batches, build_benchmark, expand_patterns
from elusive.configuration.facts import Facts, check_texts, of_benchmark
from elusive.configuration.families import Family, build_family
from elusive.configuration.forecasting import ForecastSettings, Group, build_forecast, build_groups, forecast_families
from elusive.configuration.imported import LOGS, SOURCES, build_imported, build_logged, check_imports, with_tasks
from elusive.configuration.jobs import ScoringJob, scoring_jobs
from elusive.configuration.local import Faults, build_local_model
from elusive.configuration.messages import Blame
from elusive.configuration.models import Checkpoint, Model, build_model, with_nominal_flops
from elusive.configuration.published import SOURCE, Published, check, expand, with_published
from elusive.configuration.schema import (
    check_repeated_keys,
    check_schema,
    plan_settings,
    schema,
    with_defaults,
    with_types,
)
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT


@dataclass(frozen=True)
class Registry:
    """Everything a configuration asks for, checked."""

    seed: int
    models: dict[str, Model]
    families: dict[str, Family]
    benchmarks: dict[str, Benchmark]
    ladder: dict[str, Any]
    scoring: dict[str, Any]
    hub: dict[str, Any]
    batches: dict[str, tuple[str, ...]]
    compute: str = "exact"
    figures: str = "main"
    plan: dict[str, Any] = field(default_factory=lambda: plan_settings({}))
    budget: dict[str, float | None] = field(default_factory=dict)
    published: Published | None = None
    publish: dict[str, Any] = field(default_factory=lambda: with_defaults({}, "publish"))
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    groups: dict[str, Group] = field(default_factory=dict)
    #: Benchmarks of the ladder's held-out text where there is no model of the ladder.
    left_out: tuple[str, ...] = ()

    def checkpoint(self, model: str, name: str) -> Checkpoint:
        """The checkpoint ``name`` of ``model``; raises KeyError."""
        return self._checkpoints[model, name]

    def describe(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """What the tables say of a checkpoint: its names, ``parameters``, ``tokens`` and the FLOPs of 6·N·D."""
        model = self.models[checkpoint.model]
        return {
            "model": checkpoint.model,
            "checkpoint": checkpoint.name,
            "parameters": model.parameters,
            "parameters_nonembedding": model.parameters_nonembedding,
            "tokens": checkpoint.tokens,
            "flops": checkpoint.flops,
        }

    @functools.cached_property
    def _checkpoints(self) -> dict[tuple[str, str], Checkpoint]:
        return {(c.model, c.name): c for model in self.models.values() for c in model.checkpoints}

    @property
    def forecast_families(self) -> list[str]:
        """The names of the families that have forecasts: those that figures show, and those that a target names."""
        return forecast_families(self.forecast, self.families)

    @property
    def ladder_models(self) -> list[Model]:
        """The models that the workflow trains."""
        return [model for model in self.models.values() if model.source == "ladder"]

    @property
    def hub_models(self) -> list[Model]:
        """The models that are downloaded from the hub."""
        return [model for model in self.models.values() if model.source == "hub"]

    @functools.cached_property
    def scoring_jobs(self) -> dict[str, ScoringJob]:
        """Rule -> kind of scoring job."""
        return scoring_jobs(self.batches, self.scored_models, self.scoring["checkpoints_per_job"])

    @functools.cached_property
    def facts(self) -> dict[str, Facts]:
        """What is known of each benchmark's texts."""
        return {name: _facts(each, self.published, self.publish) for name, each in self.benchmarks.items()}

    @property
    def published_models(self) -> list[Model]:
        """The models whose log-likelihoods come from a published data set."""
        return [model for model in self.models.values() if model.source == SOURCE]

    @property
    def imported_models(self) -> list[Model]:
        """The models whose log-likelihoods are read out of logs."""
        return [model for model in self.models.values() if model.source in SOURCES]

    @property
    def scored_models(self) -> list[Model]:
        """The models that are run here."""
        elsewhere = {SOURCE, *SOURCES}
        return [model for model in self.models.values() if model.source not in elsewhere]


def load(config: dict[str, Any], files: Iterable[str | Path] = ()) -> Registry:
    """Check ``config`` and build the registry.

    ``files`` are the configuration files in the order in which they were merged; they serve only to say in which
    one a mistake stands. Raises :class:`ElusiveError`.
    """
    files = [Path(file) for file in files]
    for file in files:
        check_repeated_keys(file)
    config, published = with_published(config, files)
    blame = Blame([*files, Path(published.path)] if published else files, config)
    config, errors = with_types(config, blame)
    check_schema(config, errors, blame)
    ladder = with_defaults(config.get("ladder", {}), "ladder")
    scoring = with_defaults(config.get("scoring", {}), "scoring")
    hub = with_defaults(config.get("hub", {}), "hub")
    ladder["checkpoints"] = sorted(ladder["checkpoints"])
    entries = {
        section: list(expand(section, config[section], published, blame)) for section in ("models", "benchmarks")
    }
    entries["families"] = list(enumerate(config["families"]))
    entries["benchmarks"] = expand_patterns(entries["benchmarks"], blame)
    for section in ("models", "families", "benchmarks"):
        _check_unique(entries[section], section, blame)
    for section in ("families", "benchmarks"):
        _check_labels(entries[section], section, blame)
    compute = config.get("compute", "exact")
    faults = Faults()
    of_set = published.models() if published else {}
    models = {}
    for i, entry in entries["models"]:
        if entry.get("source") == SOURCE:
            model = of_set[entry["name"]]
        else:
            if entry.get("source") == "local":
                model = build_local_model(entry, i, blame, faults)
            elif entry.get("source") in SOURCES:
                model = build_imported(entry, i, blame)
            else:
                model = build_model(entry, i, ladder, blame)
            model = with_nominal_flops(model, i, blame) if compute == "nominal" else model
        models[entry["name"]] = model
    faults.check(blame)
    families = {entry["name"]: build_family(entry, i, models, blame) for i, entry in enumerate(config["families"])}
    if not any(family.plotted for family in families.values()):
        raise blame.error(["families"], "no family is plotted: figures need at least one with 'plotted: true'")
    forecast = build_forecast(config.get("forecast", {}), models, families, blame)
    groups = build_groups(config.get("decide", []), models, families, forecast_families(forecast, families), blame)
    sources = config.get("sources", schema()["properties"]["sources"]["default"])
    taken = {benchmark.name: benchmark for benchmark in published.benchmarks()} if published else {}
    benchmarks = {}
    for i, entry in entries["benchmarks"]:
        if entry.get("source") == SOURCE:
            benchmark = with_tasks(taken[entry["name"]], entry)
        elif entry.get("source") == LOGS:
            benchmark = with_tasks(build_logged(entry, i, blame), entry)
        else:
            benchmark = with_tasks(build_benchmark(entry, i, sources, blame), entry)
        benchmarks[benchmark.name] = benchmark
    # The default benchmarks are asked of whatever models there are; to others this text may be well known.
    without_ladder = not any(model.source == LADDER for model in models.values())
    left_out = tuple(name for name, each in benchmarks.items() if each.source == LADDER and without_ladder)
    benchmarks = {name: each for name, each in benchmarks.items() if name not in left_out}
    if not benchmarks:
        text = f"made of text that the ladder is not trained on: {', '.join(left_out)}; no model has `source: ladder`"
        raise blame.error(["benchmarks"], f"nothing is left but what is {text}")
    asked = [(i, entry) for i, entry in entries["benchmarks"] if entry["name"] in benchmarks]
    check_imports(models, benchmarks, asked, blame)
    check(published, models, benchmarks, compute, blame)
    publish = with_defaults(config.get("publish", {}), "publish")
    check_texts(publish, {name: _facts(benchmark, published, publish) for name, benchmark in benchmarks.items()}, blame)
    return Registry(
        seed=config.get("seed", 0),
        models=models,
        families=families,
        benchmarks=benchmarks,
        ladder=ladder,
        scoring=scoring,
        hub=hub,
        batches=build_batches(scoring["batches"], list(benchmarks), blame),
        compute=published.manifest["compute"] if published else compute,
        figures=config.get("figures", schema()["properties"]["figures"]["default"]),
        plan=plan_settings(config.get("plan", {})),
        budget=with_defaults(config.get("budget", {}), "budget"),
        published=published,
        publish=publish,
        forecast=forecast,
        groups=groups,
        left_out=left_out,
    )


def _facts(benchmark: Benchmark, published: Published | None, publish: dict[str, Any]) -> Facts:
    if benchmark.source == SOURCE and published is not None:
        return published.facts(benchmark.name)
    if benchmark.name in publish["licenses"]:
        return Facts(license=publish["licenses"][benchmark.name], license_source="stated by who published the data set")
    return of_benchmark(benchmark.name)


def _check_unique(entries: list[tuple[int, dict[str, Any]]], section: str, blame: Blame) -> None:
    seen: dict[str, int] = {}
    for i, entry in entries:
        if entry["name"] in seen:
            first = seen[entry["name"]]
            raise blame.error([section, i, "name"], f"{entry['name']!r} is already the name of {section}[{first}]")
        seen[entry["name"]] = i


def _check_labels(entries: list[tuple[int, dict[str, Any]]], section: str, blame: Blame) -> None:
    # Figures and the report tell them apart by their labels.
    builtin = {}
    if section == "benchmarks":
        builtin = {name: definition.label for name, definition in (*BENCHMARKS.items(), *HELD_OUT.items())}
    seen: dict[str, int] = {}
    for i, entry in entries:
        label = entry.get("label", builtin.get(entry["name"], entry["name"]))
        if seen.setdefault(label, i) != i:
            key = "label" if "label" in entry else "name"
            raise blame.error([section, i, key], f"{label!r} is already the label of {section}[{seen[label]}]")
