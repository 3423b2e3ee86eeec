"""One job: a checkpoint against a batch of benchmarks, one table of log-likelihoods each.

A table is written as soon as its benchmark is done, so that a job that is killed loses one benchmark at most. A table
whose fingerprint still matches is left as it is. Snakemake deletes the outputs of a job before it starts and after it
failed; a finished table has a second name elsewhere (a link, which takes no space) and comes back from there. The
fingerprint covers what decides the numbers: the checkpoint's files, the items, the protocol, type, BOS rule, length
limit and the version of the scorer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from elusive.scoring.tokenize import Requests, TokenCache, resolve_max_length, tokenize
from elusive.scoring.version import SCORER_VERSION
from elusive.tables import content_hash, read_metadata, read_table, write_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from elusive.scoring.loglikelihood import Scores
    from elusive.scoring.tokenize import Requests

DTYPES = ("float32", "bfloat16", "float16", "auto")
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
            cell.keep()
    if len(stale) < len(every):
        logger.info("scoring %s: %d of %d tables are up to date", label, len(every) - len(stale), len(every))
    if stale:
        tally = Tally()
        with tally.timing("import"):
            from elusive.scoring import devices, loading, loglikelihood  # noqa: F401
        with devices.reserve(spec.device) as device:
            path = _score_stale(spec, checkpoint, stale, every[0], device, tokens or TokenCache(), tally)
        logger.info("scored %s (%s): %d tables, %s", label, path, len(stale), tally)
    return stale


def _score_stale(
    spec: Spec,
    checkpoint: Checkpoint,
    stale: Sequence[Cell],
    first: Cell,
    device: str,
    tokens: TokenCache,
    tally: Tally,
) -> str:
    """Score and write the cells one after the other; returns how the model was run.

    How is tried on the job's ``first`` cell, stale or not, so that a resumed job gives the same bytes.
    """
    from elusive.scoring.loglikelihood import Scorer

    label = f"{spec.model}/{spec.checkpoint}"
    with tally.timing("load"):
        model, tokenizer = _load(spec, checkpoint, device)
    max_length = resolve_max_length(model.config, tokenizer, spec.max_length)

    def prepare(cell: Cell) -> tuple[Choices, Requests]:
        with tally.timing("tokenize"):
            every = choices(read_table(cell.items, "items"))
            return every, _requests(tokenizer, every, max_length, spec, checkpoint, cell, tokens)

    sample = prepare(first)[1]
    with tally.timing("compute"):
        scorer = Scorer(model, sample, max_length, spec.token_budget)
    for cell in stale:
        every, requests = prepare(cell)
        with tally.timing("compute"):
            progress = _ItemProgress(f"scoring {label} on {cell.benchmark}", np.resize(every.item_index, len(requests)))
            scores = scorer.score(requests, progress)
        bad = np.flatnonzero(~np.isfinite(scores.log_likelihood))
        if len(bad):
            raise ElusiveError(
                f"{label} on {cell.benchmark}: the log-likelihood of {every.names[bad[0] % len(every.item)]} is "
                f"{scores.log_likelihood[bad[0]]} in {model.dtype}; float16 overflows on some models, try float32"
            )
        with tally.timing("write"):
            metadata = _metadata(spec, checkpoint, cell, model, max_length, scorer.path)
            write_table(_table(every, scores), cell.output, "logprobs", metadata)
            cell.keep()
        tally.counts["choices"] += len(every.item)
        tally.counts["tokens asked for"] += scores.tokens_asked
        tally.counts["tokens run"] += scores.tokens_run
    return scorer.path


def _load(spec: Spec, checkpoint: Checkpoint, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from elusive.scoring.loading import load

    model, tokenizer = load(
        checkpoint.directory, spec.dtype, device, spec.add_bos_token, spec.threads, spec.trust_remote_code
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if spec.parameters is not None and spec.parameters != parameters:
        raise ElusiveError(
            f"{checkpoint.directory}: has {parameters:,} parameters (tied weights counted once), "
            f"but the configuration says {spec.parameters:,} for {spec.model}/{spec.checkpoint}"
        )
    return model, tokenizer


def _requests(
    tokenizer: PreTrainedTokenizerBase,
    every: Choices,
    max_length: int,
    spec: Spec,
    checkpoint: Checkpoint,
    cell: Cell,
    tokens: TokenCache,
) -> Requests:
    """One request per choice, and if asked for one more per choice with an empty context, after all the others."""
    contexts, continuations, names = every.context, every.continuation, every.names
    if cell.unconditional:
        contexts = [*contexts, *[""] * len(contexts)]
        continuations, names = continuations * 2, names * 2
    decisive = {
        "tokenizer": checkpoint.tokenizer,
        "items": cell.items_sha256,
        "max_length": max_length,
        "add_bos_token": spec.add_bos_token,
        "unconditional": cell.unconditional,
    }
    try:
        return tokens.get(
            decisive, lambda: tokenize(tokenizer, contexts, continuations, max_length, spec.add_bos_token, names)
        )
    except ElusiveError as error:
        raise ElusiveError(f"{cell.benchmark}: {error}") from error


def _table(every: Choices, scores: Scores) -> pa.Table:
    count = len(every.item)
    columns = {
        "item": every.item,
        "choice": every.choice,
        "is_gold": every.is_gold,
        "log_likelihood": scores.log_likelihood[:count],
        "num_tokens": scores.num_tokens[:count],
        "num_bytes": np.array([len(text.encode()) for text in every.text], np.int32),
        "num_chars": np.array([len(text) for text in every.text], np.int32),
        "is_greedy": scores.is_greedy[:count],
    }
    if len(scores.log_likelihood) > count:
        columns["log_likelihood_unconditional"] = scores.log_likelihood[count:]
    return pa.table(columns)


def _metadata(
    spec: Spec, checkpoint: Checkpoint, cell: Cell, model: PreTrainedModel, max_length: int, path: str
) -> dict[str, Any]:
    """Where the table came from. Nothing in it differs between two runs of the same job."""
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
