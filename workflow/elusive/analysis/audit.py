"""What to look at before one trusts a family's numbers: a table that is empty when all is well.

Each kind of row has a function that says it, and a condition without which it is not said:

- ``equal``: two members have equal weights or scores (an error unless the family allows it);
- ``off_trend``: a checkpoint's log-likelihoods are far off the trend of its own run, as those of a wrong upload;
- ``truncated``, ``dropped``: prompts that were cut, items that could not be scored;
- ``warning``: what scoring had to say of a model, such as a BOS rule that was overruled;
- ``ties``: right and best wrong choice that half precision cannot tell apart;
- ``mixture``: members that were scored in different types, on different devices, with different versions, or in ways of
  running that differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from elusive import logs
from elusive.analysis import equality
from elusive.analysis.equality import Key
from elusive.analysis.metrics import FilePath, Member, read_checkpoint
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

KINDS = ("equal", "off_trend", "truncated", "dropped", "warning", "ties", "mixture")
#: Column of an items table without texts: whether a wrong choice has the right one's context and text.
REPEATED = "gold_is_repeated"
#: Share of items with an exact tie from which it is said, in half precision.
TIES_SHOWN = 0.01
#: From where on a checkpoint is said to be off its run's trend: in units of the range of the other checkpoints, of how
#: rough their own curve is, and of the log-likelihoods themselves.
OFF_RANGE, OFF_ROUGHNESS, OFF_RELATIVE = 0.25, 3.0, 0.02
_SMOOTHEST = 0.8
#: Checkpoints with compute that a run needs for a trend.
MIN_CHECKPOINTS = 5
_HALF = ("float16", "bfloat16")
_MIXED = {"dtype": "types of the weights", "device": "devices", "path": "ways of running the model"}
_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """A row of the table."""

    family: str
    kind: str
    text: str
    model: str | None = None
    checkpoint: str | None = None
    benchmark: str | None = None
    value: float | None = None

    @property
    def order(self) -> tuple[Any, ...]:
        """By kind, then name; families stay in the order in which they come."""
        return (KINDS.index(self.kind), self.model or "", self.checkpoint or "", self.benchmark or "", self.text)


def truncated_text(key: Key, benchmark: str, count: int, items: int, max_length: int | None) -> str | None:
    """How many of a table's items have prompts that were cut; None if none has."""
    if not count:
        return None
    length = "" if max_length is None else f" than the {max_length} tokens that the model is fed"
    return (
        f"{'/'.join(key)}: {count} of {items} items of {benchmark} have prompts longer{length}; their beginnings were "
        "cut."
    )


def dropped_text(key: Key, benchmark: str, count: int) -> str | None:
    """How many items a table lacks; None if none."""
    if not count:
        return None
    items = "1 item" if count == 1 else f"{count} items"
    return f"{'/'.join(key)}: {items} of {benchmark} could not be scored, and are left out for all checkpoints."


def ties_text(key: Key, benchmark: str, share: float, dtype: str) -> str | None:
    """How many items are decided by the order of their choices; None where it is few or not for want of precision."""
    if dtype not in _HALF or share < TIES_SHOWN:
        return None
    return (
        f"{'/'.join(key)}: in {dtype}, on {share:.1%} of the items of {benchmark} the right choice and a wrong one "
        "have exactly the largest log-likelihood, and the first of them counts as chosen."
    )


def mixture_text(what: str, members: Mapping[str, Sequence[Key]]) -> str | None:
    """Which members were scored how; None where all were in the same way."""
    if len(members) < 2:
        return None
    ordered = sorted(members.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return (
        f"Members were scored with different {what}: "
        + "; ".join(f"{value} ({_names(keys)})" for value, keys in ordered)
        + "."
    )


def _names(keys: Sequence[Key]) -> str:
    names = ["/".join(key) for key in keys]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def off_trend_text(key: Key, distance: float | None) -> str | None:
    """How far a checkpoint is off the trend of its run, as :func:`off_trend` measures it; None if it is not."""
    if distance is None:
        return None
    return (
        f"{'/'.join(key)}: its mean log-likelihoods lie beyond what its neighbours leave room for (between them, or at "
        f"the end of a run twice as fast as before) by {distance:.2f} of the range of the run's other checkpoints; see "
        "whether it, or one beside it, has the weights of another step."
    )


def off_trend(x: np.ndarray, y: np.ndarray) -> dict[int, float]:
    """Positions that are far off the trend of a run -> how far, in units of the range of the others.

    ``x`` (log tokens, ascending) and ``y`` (mean log-likelihoods, relative to their size) are float64 [checkpoints].
    A checkpoint between two others should lie between them, the last may go on as its predecessor did, twice as fast,
    and the first may be anything on the side from which the run comes, where curves are steepest. What lies beyond is
    said where it exceeds :data:`OFF_RANGE` of the range of the others, :data:`OFF_ROUGHNESS` times the distance of the
    others from the straight line between their own neighbours, and :data:`OFF_RELATIVE`, so that neither a curve nor
    noise is called a wrong upload. The farthest goes first, and the rest are judged without it.
    """
    left = list(range(len(y)))
    found: dict[int, float] = {}
    while len(left) >= MIN_CHECKPOINTS and len(found) < len(y) // 4 + 1:
        judged = []
        for place, position in enumerate(left):
            others = [other for other in left if other != position]
            span = float(np.ptp(y[others]))
            distance = _beyond(x[left], y[left], place)
            limits = OFF_RANGE * span, OFF_ROUGHNESS * _roughness(x[others], y[others]), OFF_RELATIVE
            if distance > max(limits):
                judged.append((distance / span if span else np.inf, position))
        if not judged:
            break
        distance, position = max(judged)
        found[position] = float(distance)
        left.remove(position)
    return found


def _beyond(x: np.ndarray, y: np.ndarray, place: int) -> float:
    """How far a checkpoint lies beyond what its neighbours leave room for; see :func:`off_trend`."""
    last = len(y) - 1
    if 0 < place < last:
        low, high = sorted((y[place - 1], y[place + 1]))
        distance = max(0.0, low - y[place], y[place] - high)
        # The second may lie beyond the first because it is the first that is off.
        return distance if place > 1 else min(distance, _beyond(x[1:], y[1:], 0))
    if place == 0:
        rest = y[1:]
        rising = np.median(rest[len(rest) // 2 :]) >= np.median(rest[: len(rest) // 2])
        if (y[0] <= y[1]) == rising:
            return 0.0
    end, near, far = (place, 1, 2) if place == 0 else (place, last - 1, last - 2)
    pace = abs((y[near] - y[far]) / (x[near] - x[far]))
    return max(0.0, abs(y[end] - y[near]) - 2 * pace * abs(x[end] - x[near]))


def _roughness(x: np.ndarray, y: np.ndarray) -> float:
    """How far the inner checkpoints are from the straight line between their neighbours, but for the roughest fifth."""
    middle = y[:-2] + (y[2:] - y[:-2]) * (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    return float(np.quantile(np.abs(y[1:-1] - middle), _SMOOTHEST, method="higher"))


def run_trends(means: pa.Table) -> dict[Key, float]:
    """Checkpoints that are far off the trend of their model's run -> how far.

    ``means`` has the columns of the table of that name. A run's curve is the median over benchmarks of the mean
    log-likelihood of the right choice, each benchmark in units of its median over the checkpoints.
    """
    rows = means.filter(pc.equal(means["metric"], "log_p_vocab_correct"))
    by_model: dict[str, list[dict[str, Any]]] = {}
    for row in rows.select(["model", "checkpoint", "tokens", "benchmark", "mean"]).to_pylist():
        if row["tokens"] > 0:
            by_model.setdefault(row["model"], []).append(row)
    found: dict[Key, float] = {}
    for model, own in by_model.items():
        tokens = {row["checkpoint"]: row["tokens"] for row in own}
        names = sorted(tokens, key=lambda name: (tokens[name], name))
        # Of two checkpoints after as many tokens one is not of this run.
        if len(names) < MIN_CHECKPOINTS or len(set(tokens.values())) < len(names):
            continue
        values = {(row["checkpoint"], row["benchmark"]): row["mean"] for row in own}
        curves = []
        for benchmark in dict.fromkeys(row["benchmark"] for row in own):
            curve = np.array([values.get((name, benchmark), np.nan) for name in names])
            if np.isfinite(curve).all() and np.median(curve) < 0:
                curves.append(curve / -np.median(curve))
        if curves:
            x = np.log10([float(tokens[name]) for name in names])
            off = off_trend(x, np.median(curves, axis=0))
            found |= {(model, names[position]): distance for position, distance in off.items()}
    return found


@dataclass(frozen=True)
class Scored:
    """What the tables of log-likelihoods say of themselves: ``metadata`` of each checkpoint and benchmark."""

    metadata: Mapping[tuple[Key, str], Mapping[str, Any]]
    items: Mapping[str, int]  # benchmark -> number of items

    @classmethod
    def read(cls, logprobs: Iterable[FilePath], items: Mapping[str, int]) -> Scored:
        """From the files, each of which is named after its benchmark."""
        return cls({(read_checkpoint(path), Path(path).stem): read_metadata(path) for path in logprobs}, items)

    def of(self, keys: Collection[Key]) -> Iterator[tuple[Key, str, Mapping[str, Any]]]:
        """Checkpoint, benchmark and metadata of the tables of some checkpoints."""
        for (key, benchmark), about in self.metadata.items():
            if key in keys:
                yield key, benchmark, about

    def findings(self, family: str, keys: Collection[Key]) -> Iterator[Finding]:
        """What single tables have to say, and in what members differ."""
        for key, benchmark, about in self.of(keys):
            where = {"family": family, "model": key[0], "checkpoint": key[1], "benchmark": benchmark}
            cut, dropped = about.get("truncated_items") or 0, len(about.get("dropped_items") or ())
            count = self.items[benchmark]
            if said := truncated_text(key, benchmark, cut, count, about.get("max_length")):
                yield Finding(kind="truncated", text=said, value=cut / count, **where)
            if said := dropped_text(key, benchmark, dropped):
                yield Finding(kind="dropped", text=said, value=dropped / count, **where)
        yield from self._warnings(family, keys)
        for name, what in _MIXED.items():
            yield from self._mixture(family, keys, what, lambda about, name=name: about.get(name))
        for package in ("torch", "transformers", "elusive"):
            versions = f"versions of {package}"
            yield from self._mixture(
                family, keys, versions, lambda about, package=package: about.get("versions", {}).get(package)
            )

    def _warnings(self, family: str, keys: Collection[Key]) -> Iterator[Finding]:
        """Each warning once for a checkpoint where all its tables have it, else for each of these."""
        said: dict[tuple[Key, str], list[str]] = {}
        tables: Counter[Key] = Counter()
        for key, benchmark, about in self.of(keys):
            tables[key] += 1
            for warning in about.get("warnings") or ():
                if not _is_counted(warning, about):
                    said.setdefault((key, warning), []).append(benchmark)
        for (key, warning), benchmarks in said.items():
            everywhere = len(benchmarks) == tables[key]
            for benchmark in [None] if everywhere else benchmarks:
                where = f"{'/'.join(key)}{f' on {benchmark}' if benchmark else ''}"
                yield Finding(family, "warning", f"{where}: {warning.rstrip('.')}.", *key, benchmark)

    def _mixture(
        self, family: str, keys: Collection[Key], what: str, value: Callable[[Mapping[str, Any]], Any]
    ) -> Iterator[Finding]:
        members: dict[str, list[Key]] = {}
        for key, _, about in self.of(keys):
            # What a table does not say is no difference: those that are imported know little.
            if (found := value(about)) is not None and key not in members.setdefault(str(found), []):
                members[str(found)].append(key)
        if said := mixture_text(what, members):
            yield Finding(family, "mixture", said)


def _is_counted(warning: str, about: Mapping[str, Any]) -> bool:
    """Whether a warning only says what the table's numbers of cut and dropped items say."""
    cut, dropped = about.get("truncated_items"), len(about.get("dropped_items") or ())
    return bool(
        (cut and warning.startswith(f"{cut} items") and "cut" in warning)
        or (dropped and warning.startswith(f"{dropped} items") and "left out" in warning)
    )


def ambiguous_items(items: pa.Table) -> set[str]:
    """Items of which a wrong choice has the right one's context and text, so that they tie in any precision.

    Of an item without texts, what the table itself says of it; where it says nothing, nobody can tell why it ties.
    """
    found = set()
    columns = [items[name].to_pylist() for name in ("item", "contexts", "continuations", "gold", "num_choices")]
    known = items[REPEATED].to_pylist() if REPEATED in items.column_names else [None] * len(items)
    for item, contexts, continuations, gold, count, is_repeated in zip(*columns, known, strict=True):
        if not contexts or not continuations:
            if is_repeated is not False:
                found.add(item)
            continue
        pairs = [
            (contexts[i if len(contexts) > 1 else 0], continuations[i if len(continuations) > 1 else 0])
            for i in range(count)
        ]
        if pairs.count(pairs[gold]) > 1:
            found.add(item)
    return found


def tie_shares(metrics: pa.Table, ambiguous: Collection[str]) -> dict[Key, float]:
    """Share of the items on which the right choice's log-likelihood is exactly the best wrong one's, by checkpoint."""
    rows = metrics.select(["model", "checkpoint", "item", "margin_log"]).to_pydict()
    ties: Counter[Key] = Counter()
    counts: Counter[Key] = Counter()
    for model, checkpoint, item, margin in zip(*rows.values(), strict=True):
        counts[model, checkpoint] += 1
        ties[model, checkpoint] += margin == 0.0 and item not in ambiguous
    return {key: ties[key] / counts[key] for key in counts}


def write_audit(
    *,
    logprobs: Sequence[FilePath],
    metrics: Mapping[tuple[str, str], FilePath],
    items: Mapping[str, FilePath],
    means: FilePath,
    families: Mapping[str, Sequence[Member]],
    output_parquet: FilePath,
    output_csv: FilePath,
) -> None:
    """Write the table ``audit`` as Parquet and CSV, by family, kind and name; without rows when all is well.

    ``logprobs``: the tables of all members on all benchmarks; ``metrics``: that of each (family, benchmark); ``items``:
    that of each benchmark; ``means``: the table of that name.
    """
    item_tables = {name: read_table(path, "items") for name, path in items.items()}
    scored = Scored.read(logprobs, {name: len(table) for name, table in item_tables.items()})
    ambiguous = {name: ambiguous_items(table) for name, table in item_tables.items()}
    off = run_trends(read_table(means, "means"))
    revisions = {key: equality.weights(about) for (key, _), about in scored.metadata.items()}
    rows: list[Finding] = []
    for family, members in families.items():
        keys = {(member["model"], member["checkpoint"]) for member in members}
        found = [
            Finding(family, "off_trend", off_trend_text(key, distance), *key, value=distance)
            for key, distance in off.items()
            if key in keys
        ]
        found += scored.findings(family, keys)
        pairs: dict[tuple[Key, Key], tuple[equality.Twin, str]] = {}
        for benchmark in items:
            table = read_table(metrics[family, benchmark], "metrics")
            for key, share in tie_shares(table, ambiguous[benchmark]).items():
                dtype = scored.metadata[key, benchmark].get("dtype", "")
                if said := ties_text(key, benchmark, share, dtype):
                    found.append(Finding(family, "ties", said, *key, benchmark, share))
            for twin in equality.twins(members, revisions, _digests(table)):
                pairs.setdefault((twin.first, twin.second), (twin, f"on {benchmark}"))
        for twin, where in pairs.values():
            found.append(Finding(family, "equal", equality.text(twin, where), *twin.second))
        rows += sorted(found, key=lambda finding: finding.order)
    table = pa.Table.from_pylist([vars(row) for row in rows], SCHEMAS["audit"])
    write_table(table, output_parquet, "audit")
    write_csv(table, output_csv)
    counts = Counter(row.kind for row in rows)
    logger.info("audit: %s", ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "nothing to look at")


def _digests(metrics: pa.Table) -> dict[Key, str]:
    """:func:`~elusive.analysis.equality.scores_digest` of each checkpoint of a metrics table."""
    names = metrics.select(["model", "checkpoint"]).to_pydict()
    rows: dict[Key, list[int]] = {}
    for i, key in enumerate(zip(names["model"], names["checkpoint"], strict=True)):
        rows.setdefault(key, []).append(i)
    columns = {name: metrics[name].to_numpy() for name in ("log_p_vocab_correct", "log_p_vocab_incorrect")}
    return {key: equality.scores_digest({name: column[rows[key]] for name, column in columns.items()}) for key in rows}
