"""One job: a checkpoint against a batch of benchmarks, one table of log-likelihoods each.

A table is written as soon as its benchmark is done, so that a job that is killed loses one benchmark at most. A table
whose fingerprint still matches is left as it is. Snakemake deletes the outputs of a job before it starts and after it
failed; a finished table has a second name elsewhere (a link, which takes no space) and comes back from there. The
fingerprint covers what decides the numbers: the checkpoint's files, the items, the protocol, type, BOS rule, length
limit and the version of the scorer.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import elusive
from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import link
from elusive.scoring.checkpoint import Checkpoint
from elusive.scoring.tokenize import (
    Requests,
    TokenCache,
    configured_max_length,
    pack,
    resolve_max_length,
    tokenize,
)
from elusive.scoring.version import SCORER_VERSION
from elusive.tables import content_hash, read_metadata, read_table, write_table

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from elusive.scoring.loglikelihood import Scores

DTYPES = ("float32", "bfloat16", "float16", "auto")
#: The most benchmarks that take part in the trial of how to run a model.
_TRIAL_BENCHMARKS = 12

logger = logs.get(__name__)


@dataclass(frozen=True)
class Spec:
    """What is scored and how. ``None`` for ``max_length`` and ``token_budget`` leaves the choice to the scorer.

    With ``repo``, the directory must hold that repository's ``revision``, as the download wrote it down.

    Benchmarks named in ``unconditional`` get the column ``log_likelihood_unconditional`` besides: the log-likelihood
    of every continuation behind an empty context, as lm-eval's ``acc_mutual_info`` has it.
    """

    model: str
    checkpoint: str
    source: str
    parameters: int | None = None
    parameters_nonembedding: int | None = None
    tokens: int | None = None
    repo: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: str = "float32"
    device: str = "auto"
    add_bos_token: bool | None = False
    max_length: int | None = None
    unconditional: tuple[str, ...] = ()
    token_budget: int | None = None
    threads: int = 1

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Spec:
        """A spec from parsed JSON; raises :class:`ElusiveError` naming the key that is unknown, missing or wrong."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ElusiveError(f"--spec: unknown keys {unknown}; known are {sorted(known)}")
        if missing := [key for key in ("model", "checkpoint", "source") if key not in values]:
            raise ElusiveError(f"--spec: the keys {missing} are missing")
        spec = cls(**{**values, "unconditional": tuple(values.get("unconditional", ()))})
        if spec.dtype not in DTYPES:
            raise ElusiveError(f"--spec: dtype {spec.dtype!r} is not one of {', '.join(DTYPES)}")
        return spec


@dataclass(frozen=True)
class Cell:
    """One benchmark of the job: its items, where its table goes, and the fingerprint that the table must carry.

    ``finished`` is the table's second name, if it gets one.
    """

    items: Path
    output: Path
    finished: Path | None
    benchmark: str
    protocol: str
    items_sha256: str
    unconditional: bool
    fingerprint: str

    @property
    def up_to_date(self) -> bool:
        """Whether the table exists and was made from the same inputs in the same way."""
        return self._matches(self.output)

    def recover(self) -> None:
        """Take the table from under its second name where that is the one that is wanted."""
        if self.finished and not self.up_to_date and self._matches(self.finished):
            link(self.finished, self.output)

    def keep(self) -> None:
        """Give the table its second name."""
        if self.finished and not (self.finished.exists() and self.finished.samefile(self.output)):
            link(self.output, self.finished)

    def _matches(self, path: Path) -> bool:
        try:
            return read_metadata(path).get("fingerprint") == self.fingerprint
        except ElusiveError:
            return False


def cells(
    spec: Spec, checkpoint: Checkpoint, items: Sequence[Path], outputs: Sequence[Path], finished: Path | None = None
) -> list[Cell]:
    """The cells of a job; ``items`` and ``outputs`` belong together pairwise."""
    if len(items) != len(outputs):
        raise ElusiveError(f"{len(items)} items tables but {len(outputs)} outputs; they must be equally many")
    result = []
    for path, output in zip(items, outputs, strict=True):
        metadata = read_metadata(path)
        # Of the content, not the file: a benchmark's new label is no reason to score it anew.
        digest, protocol = content_hash(read_table(path, "items")), metadata.get("protocol", "")
        benchmark = metadata.get("benchmark", path.stem)
        unconditional = benchmark in spec.unconditional
        decisive = {
            "revision": checkpoint.revision,
            "items": digest,
            "protocol": protocol,
            "dtype": spec.dtype,
            "add_bos_token": spec.add_bos_token,
            "max_length": spec.max_length,
            "scorer": SCORER_VERSION,
            **({"unconditional": True} if unconditional else {}),
        }
        fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        second = finished / spec.model / spec.checkpoint / output.name if finished else None
        result.append(Cell(path, output, second, benchmark, protocol, digest, unconditional, fingerprint))
    return result


@dataclass(frozen=True)
class Choices:
    """One entry per item × choice, sorted by items order, then choice."""

    item: list[str]
    item_index: np.ndarray  # [choices] int64
    choice: np.ndarray  # [choices] int8
    is_gold: np.ndarray  # [choices] bool
    context: list[str]
    continuation: list[str]
    text: list[str]  # without delimiter

    @property
    def names(self) -> list[str]:
        """How error messages call them."""
        return [f"item {item!r}, choice {choice}" for item, choice in zip(self.item, self.choice, strict=True)]


def choices(items: pa.Table) -> Choices:
    """All choices of an items table: one context or continuation of an item may serve all its choices."""
    columns = {name: items[name].to_pylist() for name in ("item", "contexts", "continuations", "gold", "num_choices")}
    # Where the table has no texts, the continuation less the space that delimits it.
    texts = items["choices"].to_pylist() if "choices" in items.column_names else [None] * items.num_rows
    result = Choices([], np.zeros(0), np.zeros(0), np.zeros(0), [], [], [])
    index, number, gold = [], [], []
    for i in range(items.num_rows):
        count, contexts, continuations = (columns[key][i] for key in ("num_choices", "contexts", "continuations"))
        for choice in range(count):
            continuation = continuations[choice if len(continuations) > 1 else 0]
            result.item.append(columns["item"][i])
            result.context.append(contexts[choice if len(contexts) > 1 else 0])
            result.continuation.append(continuation)
            result.text.append(texts[i][choice] if texts[i] is not None else continuation.removeprefix(" "))
            index.append(i)
            number.append(choice)
            gold.append(choice == columns["gold"][i])
    arrays = {
        "item_index": np.array(index, np.int64),
        "choice": np.array(number, np.int8),
        "is_gold": np.array(gold, bool),
    }
    return Choices(**{**vars(result), **arrays})


class Tally:
    """What a job did and where its seconds went, for its last line."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    @contextlib.contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Count the time of the block as that of ``step``."""
        started = time.monotonic()
        yield
        self.seconds[step] += time.monotonic() - started

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{counts}; seconds: " + ", ".join(f"{step} {value:.1f}" for step, value in self.seconds.items())


def score_cells(
    spec: Spec,
    directory: Path,
    items: Sequence[Path],
    outputs: Sequence[Path],
    tokens: TokenCache | None = None,
    finished: Path | None = None,
) -> list[Cell]:
    """Bring all tables of a checkpoint up to date and return the cells that had to be scored.

    ``tokens`` saves tokenising again what another checkpoint of the same tokenizer was scored on, the directory
    ``finished`` keeps every table under ``model/checkpoint`` whatever becomes of ``outputs``.

    Loads nothing heavy when there is nothing to do. Raises :class:`ElusiveError` when the checkpoint is incomplete or
    differs from the spec, or when a log-likelihood is not a finite number.
    """
    checkpoint = Checkpoint.open(directory, spec.revision, spec.repo)
    label = f"{spec.model}/{spec.checkpoint}"
    every = cells(spec, checkpoint, items, outputs, finished)
    for cell in every:
        cell.recover()
    stale = [cell for cell in every if not cell.up_to_date]
    for cell in every:
        if cell not in stale:
            _check_parameters(spec, read_metadata(cell.output).get("parameters"), cell.output)
            cell.keep()
    if len(stale) < len(every):
        logger.info("scoring %s: %d of %d tables are up to date", label, len(every) - len(stale), len(every))
    if stale:
        tally = Tally()
        with tally.timing("import"):
            from elusive.scoring import devices, loading, loglikelihood  # noqa: F401
        with devices.reserve(spec.device) as device:
            path = _score_stale(spec, checkpoint, stale, every, device, tokens or TokenCache(), tally)
        logger.info("scored %s (%s): %d tables, %s", label, path, len(stale), tally)
    return stale


def _score_stale(
    spec: Spec,
    checkpoint: Checkpoint,
    stale: Sequence[Cell],
    every: Sequence[Cell],
    device: str,
    tokens: TokenCache,
    tally: Tally,
) -> str:
    """Score and write the ``stale`` ones of the job's cells one after the other; returns how the model was run.

    How is tried on all of the job's benchmarks, stale or not, so that a resumed job gives the same bytes.
    """
    from elusive.scoring.loglikelihood import Scorer

    label = f"{spec.model}/{spec.checkpoint}"
    with tally.timing("load"):
        model = _load(spec, checkpoint, device)
    prompts = _Prompts(spec, checkpoint, model.config, tokens)

    def prepare(cell: Cell) -> tuple[Choices, Requests]:
        with tally.timing("tokenize"):
            return prompts.of(cell)

    with tally.timing("tokenize"):
        trial = prompts.trial(every)
    with tally.timing("compute"):
        scorer = Scorer(model, trial, prompts.max_length, spec.token_budget)
    # A job with one processor to compute on has none to spare.
    for cell, (some, requests) in _ahead(prepare, stale, in_thread=device != "cpu" or spec.threads > 1):
        with tally.timing("compute"):
            progress = _ItemProgress(f"scoring {label} on {cell.benchmark}", np.resize(some.item_index, len(requests)))
            scores = scorer.score(requests, progress)
        bad = np.flatnonzero(~np.isfinite(scores.log_likelihood))
        if len(bad):
            raise ElusiveError(
                f"{label} on {cell.benchmark}: the log-likelihood of {some.names[bad[0] % len(some.item)]} is "
                f"{scores.log_likelihood[bad[0]]} in {model.dtype}; float16 overflows on some models, try float32"
            )
        with tally.timing("write"):
            metadata = _metadata(spec, checkpoint, cell, model, prompts.max_length, scorer.path)
            write_table(_table(some, scores), cell.output, "logprobs", metadata)
            cell.keep()
        tally.counts["choices"] += len(some.item)
        tally.counts["tokens asked for"] += scores.tokens_asked
        tally.counts["tokens run"] += scores.tokens_run
    return scorer.path


def _ahead(
    prepare: Callable[[Cell], tuple[Choices, Requests]], every: Sequence[Cell], in_thread: bool
) -> Iterator[tuple[Cell, tuple[Choices, Requests]]]:
    """Every cell with what ``prepare`` makes of it, made when it is its turn or ``in_thread`` one turn ahead.

    An error of ``prepare`` is raised at the cell's turn either way. No more than two cells' prompts are held at a time.
    """
    if not in_thread:
        for cell in every:
            yield cell, prepare(cell)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize") as pool:
        following = pool.submit(prepare, every[0])
        for cell, after in zip(every, [*every[1:], None], strict=True):
            ready = following.result()
            if after is not None:
                following = pool.submit(prepare, after)
            yield cell, ready


class _Prompts:
    """The job's prompts as tokens. The tokenizer is loaded when there is something that the cache does not have."""

    def __init__(self, spec: Spec, checkpoint: Checkpoint, config: PreTrainedConfig, tokens: TokenCache) -> None:
        self._spec, self._checkpoint, self._tokens = spec, checkpoint, tokens
        length = spec.max_length or configured_max_length(config)
        self.max_length = length or resolve_max_length(config, self._tokenizer)

    @functools.cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from elusive.scoring.loading import load_tokenizer

        spec = self._spec
        return load_tokenizer(self._checkpoint.directory, spec.add_bos_token, spec.threads, spec.trust_remote_code)

    def of(self, cell: Cell) -> tuple[Choices, Requests]:
        """A request per choice, and if asked for one more per choice with an empty context, after all the others."""
        every = choices(read_table(cell.items, "items"))
        contexts, continuations, names = every.context, every.continuation, every.names
        if cell.unconditional:
            contexts = [*contexts, *[""] * len(contexts)]
            continuations, names = continuations * 2, names * 2
        decisive = {"items": cell.items_sha256, "unconditional": cell.unconditional}
        names = [f"{cell.benchmark}: {name}" for name in names]
        return every, self._cached(decisive, lambda: self._encode(contexts, continuations, names))

    def trial(self, every: Sequence[Cell]) -> Requests:
        """A few requests of every benchmark: neighbours, different choices of one item, the longest item.

        Of very many benchmarks some are taken. What cannot be tokenised is left out, for its error comes at its turn.
        """
        some = every[:: -(-len(every) // _TRIAL_BENCHMARKS)]

        def make() -> Requests:
            requests: list[Requests] = []
            problems: list[ElusiveError] = []
            for cell in some:
                try:
                    requests.append(self._encode(*_trial_pairs(read_table(cell.items, "items"), cell)))
                except ElusiveError as error:
                    problems.append(error)
            if not requests:
                raise problems[0]
            return pack([(r.fed(i), r.targets(i)) for r in requests for i in range(len(r))])

        return self._cached({"trial": [[cell.items_sha256, cell.unconditional] for cell in some]}, make)

    def _encode(self, contexts: Sequence[str], continuations: Sequence[str], names: Sequence[str]) -> Requests:
        return tokenize(self._tokenizer, contexts, continuations, self.max_length, self._spec.add_bos_token, names)

    def _cached(self, decisive: dict[str, Any], make: Callable[[], Requests]) -> Requests:
        general = {
            "tokenizer": self._checkpoint.tokenizer,
            "max_length": self.max_length,
            "add_bos_token": self._spec.add_bos_token,
        }
        return self._tokens.get({**general, **decisive}, make)


def _trial_pairs(items: pa.Table, cell: Cell) -> tuple[list[str], list[str], list[str]]:
    """Contexts, continuations and names of a benchmark's part of the trial."""
    texts = zip(items["contexts"].to_pylist(), items["continuations"].to_pylist(), strict=True)
    longest = int(np.argmax([max(map(len, contexts)) + max(map(len, others)) for contexts, others in texts]))
    rows = np.unique([0, min(1, items.num_rows - 1), longest])
    every = choices(items.take(_numbers(rows)))
    first = every.choice == 0
    picked = np.flatnonzero(first | np.append(first[1:], True))  # every item's first and last choice
    triples = [(every.context[i], every.continuation[i], f"{cell.benchmark}: {every.names[i]}") for i in picked]
    if cell.unconditional:
        triples.append(("", *triples[0][1:]))
    contexts, continuations, names = map(list, zip(*triples, strict=True))
    return contexts, continuations, names


def _load(spec: Spec, checkpoint: Checkpoint, device: str) -> PreTrainedModel:
    from elusive.scoring.loading import load_model

    model = load_model(checkpoint.directory, spec.dtype, device, spec.threads, spec.trust_remote_code)
    _check_parameters(spec, sum(parameter.numel() for parameter in model.parameters()), checkpoint.directory)
    return model


def _check_parameters(spec: Spec, parameters: int | None, where: Path) -> None:
    """Compare the ``parameters`` of the weights, or of a table made with them, with those of the configuration."""
    if spec.parameters is not None and parameters is not None and spec.parameters != parameters:
        raise ElusiveError(
            f"{where}: has {parameters:,} parameters (tied weights counted once), "
            f"but the configuration says {spec.parameters:,} for {spec.model}/{spec.checkpoint}"
        )


def _table(every: Choices, scores: Scores) -> pa.Table:
    count = len(every.item)
    columns = {
        "item": _strings(every.item),
        "choice": _numbers(every.choice),
        "is_gold": _numbers(every.is_gold.astype(np.int8)).cast(pa.bool_()),
        "log_likelihood": _numbers(scores.log_likelihood[:count]),
        "num_tokens": _numbers(scores.num_tokens[:count]),
        "num_bytes": _numbers(np.array([len(text.encode()) for text in every.text], np.int32)),
        "num_chars": _numbers(np.array([len(text) for text in every.text], np.int32)),
        "is_greedy": _numbers(scores.is_greedy[:count].astype(np.int8)).cast(pa.bool_()),
    }
    if len(scores.log_likelihood) > count:
        columns["log_likelihood_unconditional"] = _numbers(scores.log_likelihood[count:])
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


# Arrow's own conversions first import pandas, which takes as long as loading a small model.
def _numbers(values: np.ndarray) -> pa.Array:
    """Numbers as an Arrow array of the same type."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _strings(values: Sequence[str]) -> pa.Array:
    """Strings as an Arrow array."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in encoded])]).astype(np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _metadata(
    spec: Spec, checkpoint: Checkpoint, cell: Cell, model: PreTrainedModel, max_length: int, path: str
) -> dict[str, Any]:
    """Where the table came from. Nothing in it differs between two runs of the same job.

    ``tokens``, ``flops``, ``parameters_nonembedding`` and ``device`` are those of the job that made the table: other
    ones change no log-likelihood, so the table stays, and what follows takes them from the configuration.
    """
    import torch
    import transformers

    flops = 6.0 * spec.parameters * spec.tokens if spec.parameters is not None and spec.tokens is not None else None
    return {
        "model": spec.model,
        "checkpoint": spec.checkpoint,
        "source": spec.source,
        "benchmark": cell.benchmark,
        **({"repo": spec.repo} if spec.repo else {}),
        "revision": checkpoint.revision,
        "parameters": spec.parameters,
        "parameters_nonembedding": spec.parameters_nonembedding,
        "tokens": spec.tokens,
        "flops": flops,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "tokenizer": checkpoint.tokenizer,
        "items": cell.items_sha256,
        "protocol": cell.protocol,
        "path": path,
        "scorer": SCORER_VERSION,
        "fingerprint": cell.fingerprint,
        "add_bos_token": spec.add_bos_token,
        "max_length": max_length,
        "versions": {
            "elusive": elusive.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


class _ItemProgress:
    """Counts an item as done when all its choices are."""

    def __init__(self, label: str, item_index: np.ndarray) -> None:
        self._left = np.bincount(item_index)
        self._item_index = item_index
        self._tokens = 0
        self._progress = logs.Progress(label, len(self._left), "items")

    def __call__(self, settled: np.ndarray, tokens: int) -> None:
        touched, counts = np.unique(self._item_index[settled], return_counts=True)
        self._left[touched] -= counts
        self._tokens += tokens
        rate = self._tokens / max(self._progress.seconds, 1e-9)
        self._progress.update(int((self._left[touched] == 0).sum()), f"{rate:.0f} tokens/s")
