"""The items table of a benchmark: rows rendered to items, checked, named, and cut to a limit.

Order is that of the source. Ids are the dataset's own where it has them, else the benchmark's name and a running
number from 0 in the full set, or the subject's name and a running number within it (as lm-eval numbers documents).
A limit neither changes ids nor order.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.items import benchmarks, held_out, own
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS, BenchmarkDefinition, Item, Row
from elusive.items.held_out import HELD_OUT
from elusive.items.notes import notes
from elusive.items.shots import draw_shots
from elusive.items.sources import ARCHIVED, Rows, archive_rows, hub_rows, local_rows
from elusive.tables import SCHEMAS, read_metadata, read_table, write_table

logger = logs.get(__name__)


@dataclass(frozen=True)
class ItemSet:
    """An items table in memory: its metadata and its items in order."""

    metadata: dict[str, Any]
    items: list[Item]


def build_items(spec: dict[str, Any], output: str | os.PathLike[str], *sources: str | os.PathLike[str]) -> None:
    """Write the items table of the benchmark ``spec`` to ``output``.

    ``spec`` holds ``name`` and optionally ``label``, ``limit`` (the number of items to keep), ``seed`` (default 0,
    which items those are) and ``num_fewshot`` (solved examples before the question). ``source`` says where the rows
    come from: ``archive``, then ``sources`` is its path; ``ladder``, then they are the files of
    :mod:`elusive.items.held_out`; ``hub``, then ``dataset``, ``config`` and ``revision``
    overrule what the benchmark's definition names; or ``file``, then ``file`` and ``shots_file`` are files of such
    rows. A benchmark of one's own has the keys of :mod:`elusive.items.own`. Besides the contract's columns the table
    has ``choices``, list<string> with one text per choice, and ``cluster``, string or null, equal for items that ask
    about the same text. Raises :class:`ElusiveError` when rows cannot be had or an item does not fit its benchmark.
    """
    name, limit, seed = spec["name"], spec.get("limit"), spec.get("seed") or 0
    if name in HELD_OUT:
        full = _held_out_set(name, [Path(source) for source in sources], seed)
    else:
        full = _own_set(spec) if "choices" in spec or "gold" in spec else _builtin_set(spec, *sources)
    kept = [full.items[index] for index in choose(full.items, limit, seed)]
    drawn = len(kept) < len(full.items)
    metadata = {
        **full.metadata,
        "label": spec.get("label") or full.metadata["label"],
        "num_items_total": len(full.items),
        "limit": limit if drawn else None,
        "seed": seed if drawn else None,
        "chance": math.fsum(1 / item.num_choices for item in kept) / len(kept),
    }
    write_table(_table(kept), output, "items", metadata)
    logger.info("%s: %d of %d items, from %s", name, len(kept), len(full.items), full.metadata["origin"])


def load_items(path: str | os.PathLike[str]) -> ItemSet:
    """Read an items table, its items in the table's order."""
    table = read_table(path, "items")
    columns = ["contexts", "continuations", "choices", "gold", "subject", "item", "cluster"]
    rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
    items = [Item(tuple(c), tuple(k), tuple(t), *rest) for c, k, t, *rest in rows]
    return ItemSet(read_metadata(path), items)


def evaluated_texts(archive: Archive) -> Iterator[str]:
    """The text of every item of every benchmark that the archive holds, full sets: what training text must not contain.

    One string per item: each context followed by its continuation; when all choices share a context, it is followed
    by the right one, and the others stand on lines of their own.
    """
    for definition in (definition for name, definition in BENCHMARKS.items() if name in ARCHIVED):
        for item in archive_set(definition, archive).items:
            if len(item.contexts) > 1:
                yield "\n".join(context + continuation for context, continuation in item.requests())
            else:
                others = [text for index, text in enumerate(item.continuations) if index != item.gold]
                yield "\n".join([item.contexts[0] + item.continuations[item.gold], *others])


def archive_set(definition: BenchmarkDefinition, archive: Archive, num_fewshot: int = 0) -> ItemSet:
    """All items of a built-in benchmark from the archive, checked against the definition."""
    return item_set(definition, archive_rows(definition.name, archive, num_fewshot > 0), num_fewshot)


def item_set(definition: BenchmarkDefinition, source: Rows, num_fewshot: int = 0) -> ItemSet:
    """All items of a built-in benchmark from its rows, checked against the definition."""
    shots = _shots(definition, source, num_fewshot)
    items = []
    for row, place, examples in zip(source.rows, source.places, shots, strict=True):
        try:
            if source.source == "file":
                row, examples = _Complete(row), [_Complete(example) for example in examples]
            items.append(definition.render(row, examples))
            _check_encoding(items[-1])
        except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            raise ElusiveError(
                f"{definition.name}: {place} is not as in {definition.dataset}: {type(error).__name__}: {error}; its "
                f"fields are: {', '.join(row)}"
            ) from error
    split = source.split or definition.split
    named = with_ids(definition.name, items)
    left_out = _unusable(definition, named)
    check(definition, split, named, left_out)
    metadata = {
        "benchmark": definition.name,
        "label": definition.label,
        **_origin(source),
        "split": split,
        "protocol": benchmarks.protocol(num_fewshot),
        "num_fewshot": num_fewshot,
        "version": definition.version,
    }
    if left_out:
        metadata["left_out"] = left_out
        logger.warning("%s: left out for want of a right choice: %s", definition.name, ", ".join(left_out))
        named = [item for item in named if item.item not in left_out]
    if definition.subject:  # it names the items, but statistics by subject would only repeat those of the benchmark
        named = [replace(item, subject=None) for item in named]
    return ItemSet(metadata, named)


class _Complete(dict[str, Any]):
    """A row of somebody's file, of which no field that is asked for may be missing; a prompt would say None or nan."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is None or value != value:
            raise ValueError(f"the field {name!r} is {'null' if value is None else 'nan'}")
        return value


def _check_encoding(item: Item) -> None:
    """Raise UnicodeEncodeError, a ValueError, for half of a character, which no table can hold."""
    "".join((*item.contexts, *item.continuations, item.subject or "", item.item or "")).encode()


def _shots(definition: BenchmarkDefinition, source: Rows, num_fewshot: int) -> Sequence[Sequence[Row]]:
    if not num_fewshot:
        return [()] * len(source.rows)
    if definition.first_shots:
        by_subject = defaultdict(list)
        for row in source.shots:
            by_subject[row["subject"]].append(row)
        fewest = min((len(by_subject[subject]) for subject in definition.subjects), default=0)
        if num_fewshot > fewest:
            raise ElusiveError(f"{definition.name}: num_fewshot is {num_fewshot}, at most {fewest} are there")
        return [by_subject[row["subject"]][:num_fewshot] for row in source.rows]
    try:
        # lm-eval takes the question out of what it drew wherever it evaluates a split that is not called test.
        return draw_shots(source.rows, source.shots, num_fewshot, definition.split != "test")
    except ElusiveError as error:
        raise ElusiveError(f"{definition.name}: {source.shots_origin}: {error}") from error


def _unusable(definition: BenchmarkDefinition, items: Sequence[Item]) -> list[str]:
    """Ids of the items that cannot be asked, if the benchmark is known to have such."""
    if not definition.unusable:
        return []
    return [
        str(item.item)
        for item in items
        if item.num_choices < 2 or item.gold >= item.num_choices or not all(choice.strip() for choice in item.choices)
    ]


def check(definition: BenchmarkDefinition, split: str, items: Sequence[Item], left_out: Sequence[str] = ()) -> None:
    """Raise :class:`ElusiveError` unless counts, numbers of choices and gold indexes are what they must be.

    Items with the ids ``left_out`` count, but are not looked at any further.
    """
    name = definition.name
    expected = definition.num_items[split]
    if len(left_out) > definition.unusable:
        raise ElusiveError(
            f"{name}: {len(left_out)} items have no right choice or an empty one, at most {definition.unusable} are "
            f"known to: {', '.join(left_out[:5])}, ..."
        )
    if len(items) != expected:
        raise ElusiveError(f"{name}: found {len(items)} items of the {split} split, expected {expected}")
    if definition.subjects:
        found = Counter(item.subject for item in items)
        wrong = {s: (found[s], n) for s, n in definition.subjects.items() if found[s] != n}
        if wrong:
            raise ElusiveError(f"{name}: numbers of items per subject (found, expected) are wrong: {wrong}")
    if definition.golds:
        found = Counter(item.gold for item in items)
        golds = tuple(found[index] for index in range(len(definition.golds)))
        if golds != definition.golds:
            raise ElusiveError(f"{name}: the right choices are {golds} times each, expected {definition.golds}")
    for number, item in enumerate(items):
        if item.item in left_out:
            continue
        if item.num_choices not in definition.num_choices:
            raise ElusiveError(f"{name}: row {number}: {item.num_choices} choices, expected {definition.num_choices}")
        if not 0 <= item.gold < item.num_choices:
            raise ElusiveError(f"{name}: row {number}: gold index {item.gold}, but {item.num_choices} choices")
        if not all(choice.strip() for choice in item.choices):
            raise ElusiveError(f"{name}: row {number}: an empty choice in {list(item.choices)}")


def with_ids(benchmark: str, items: Sequence[Item]) -> list[Item]:
    """The items with their final ids; dataset ids must be unique."""
    natives = [item.item for item in items]
    if None not in natives:
        repeated = [native for native, count in Counter(natives).items() if count > 1]
        if repeated:
            raise ElusiveError(f"{benchmark}: ids that occur more than once: {repeated[:5]}")
        return list(items)
    if any(item.subject is None for item in items):
        return [replace(item, item=f"{benchmark}-{number:05d}") for number, item in enumerate(items)]
    numbers: Counter[str | None] = Counter()
    named = []
    for item in items:
        named.append(replace(item, item=f"{item.subject}-{numbers[item.subject]:04d}"))
        numbers[item.subject] += 1
    return named


def choose(items: Sequence[Any], limit: int | None, seed: int) -> list[int]:
    """Positions, ascending, of the at most ``limit`` items (with ``item``, their id, and ``subject``) to keep.

    Within a subject items are ranked by a hash of seed and id, so that a choice depends on nothing else. The item of
    rank r of a subject with n items comes at (r + 1/2) / n, and the first ``limit`` are kept: every subject gets its
    share to within rounding (the Sainte-Laguë method), and a larger limit keeps every item of a smaller one, which
    rounding by largest remainders would not ensure.
    """
    if limit is None or limit >= len(items):
        return list(range(len(items)))
    if limit < 1:
        raise ElusiveError(f"limit: {limit} items cannot be kept; give a number of at least 1, or none for all")
    ranked = sorted((hashlib.sha256(f"{seed}\0{item.item}".encode()).digest(), i) for i, item in enumerate(items))
    subjects = defaultdict(list)
    for digest, position in ranked:
        subjects[items[position].subject].append((digest, position))
    keys = [
        ((2 * rank + 1) / len(members), digest, position)
        for members in subjects.values()
        for rank, (digest, position) in enumerate(members)
    ]
    return sorted(position for _, _, position in sorted(keys)[:limit])


def _definition(name: str) -> BenchmarkDefinition:
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ElusiveError(f"there is no built-in benchmark {name!r}{hint}. Built in are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _held_out_set(name: str, sources: Sequence[Path], seed: int) -> ItemSet:
    if len(sources) != len(held_out.FILES):
        raise ElusiveError(
            f"benchmark {name!r} is made of the ladder's {', '.join(held_out.FILES)}: give them as --source"
        )
    metadata = {
        "benchmark": name,
        "label": HELD_OUT[name].label,
        "source": "ladder",
        "split": "validation",
        "origin": f"validation text of the ladder, SHA-256 of its tokens {sha256_file(sources[-1])}",
        "protocol": held_out.PROTOCOL,
        "num_fewshot": 0,
        "version": held_out.VERSION,
        "seed_of_items": seed,
    }
    return ItemSet(metadata, with_ids(name, held_out.held_out_items(name, sources, seed)))


def _builtin_set(spec: dict[str, Any], archive: str | os.PathLike[str] | None = None) -> ItemSet:
    definition = _definition(spec["name"])
    source = spec.get("source") or ("file" if "file" in spec else "archive")
    num_fewshot = spec.get("num_fewshot", 0)
    if num_fewshot and not definition.shots_split:
        raise ElusiveError(f"{definition.name}: num_fewshot is {num_fewshot}, but there are no solved examples")
    if source == "archive":
        if archive is None:
            raise ElusiveError(f"benchmark {definition.name!r} is read from the archive, but no --source was given")
        with Archive(archive) as opened:
            rows = archive_rows(definition.name, opened, num_fewshot > 0)
    elif source == "hub":
        rows = hub_rows(
            spec.get("dataset", definition.dataset),
            [spec["config"]] if "config" in spec else definition.configs,
            definition.split,
            # A commit is one of the definition's own repository.
            spec.get("revision", None if "dataset" in spec else definition.revision),
            definition.shots_split if num_fewshot else None,
        )
    else:
        shots_file = Path(spec["shots_file"]) if num_fewshot else None
        rows = local_rows(definition.name, Path(spec["file"]), definition.split, shots_file)
    return item_set(definition, rows, num_fewshot)


def _own_set(spec: dict[str, Any]) -> ItemSet:
    benchmark = own.read_spec(spec)
    num_fewshot = benchmark.num_fewshot
    if benchmark.file is None:
        configs = [benchmark.config] if benchmark.config else []
        shots_split = benchmark.shots_split if num_fewshot else None
        rows = hub_rows(benchmark.dataset, configs, benchmark.split, benchmark.revision, shots_split)
    else:
        rows = local_rows(benchmark.name, benchmark.file, None, benchmark.shots_file if num_fewshot else None)
    if not rows.rows:
        raise ElusiveError(f"{rows.dataset}: has no rows")
    shots = [()] * len(rows.rows)
    if num_fewshot:
        if benchmark.file:  # which may be spelt in two ways
            same = benchmark.shots_file is not None and os.path.samefile(benchmark.shots_file, benchmark.file)
        else:
            same = benchmark.shots_split == benchmark.split
        shots = draw_shots(rows.rows, rows.shots, num_fewshot, same)
    metadata = {
        "benchmark": benchmark.name,
        "label": benchmark.name,
        **_origin(rows),
        "protocol": own.protocol(num_fewshot),
        "num_fewshot": num_fewshot,
        "templates": {**{key: spec[key] for key in benchmark.fields}, "delimiter": benchmark.delimiter},
        "version": own.VERSION,
    }
    items = with_ids(benchmark.name, benchmark.items(rows.rows, rows.places, shots))
    # Without the solved examples, which make every question another one.
    asked = benchmark.items(rows.rows, rows.places, [()] * len(rows.rows)) if num_fewshot else items
    asked = [replace(item, item=named.item) for item, named in zip(asked, items, strict=True)]
    if found := notes(asked, benchmark.delimiter, fixed_gold=not benchmark.fields["gold"].used):
        metadata["notes"] = found
        for note in found:
            logger.warning("%s: %s", benchmark.name, note)
    return ItemSet(metadata, items)


def _origin(rows: Rows) -> dict[str, Any]:
    """Where rows came from, for the table's metadata."""
    origin = {
        "source": rows.source,
        "dataset": rows.dataset,
        "revision": rows.revision,
        "commit": rows.commit,
        "split": rows.split,
        "split_note": rows.split_note,
        "origin": rows.origin,
    }
    return origin | ({"shots": rows.shots_origin} if rows.shots_origin else {})


def _table(items: Sequence[Item]) -> pa.Table:
    fields = [*SCHEMAS["items"], pa.field("choices", pa.list_(pa.string())), pa.field("cluster", pa.string())]
    columns = {name: [getattr(item, name) for item in items] for name in (field.name for field in fields)}
    return pa.table(columns, schema=pa.schema(fields))
