"""One job: a checkpoint against a batch of benchmarks, one table of log-likelihoods each.

A table is written as soon as its benchmark is done, so that a job that is killed loses one benchmark at most. Snakemake
deletes the outputs of a job before it starts and after it failed; a finished table has a second name elsewhere (a link,
which takes no space) and comes back from there.

What decides the numbers of a table stands in its fingerprint (:mod:`elusive.scoring.identity`): the checkpoint's files,
the texts, type, BOS rule, length limit and the version of the scorer. A table with the right one is not scored again.
Where ids or gold have changed, it is written anew with its own numbers; where a library that makes tokens has another
version, the prompts are tokenised again, and the table stays if these are the tokens that it was made with.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import elusive
from elusive import logs
from elusive.configuration.directory import CONFIG, CheckpointDirectory
from elusive.errors import ElusiveError
from elusive.files import link
from elusive.scoring import identity
from elusive.scoring.prompts import Choices, Prepared, Prompts, arrow_numbers, arrow_strings, choices
from elusive.scoring.spec import Spec
from elusive.scoring.tokenize import TokenCache
from elusive.scoring.version import SCORER_VERSION
from elusive.tables import content_hash, read_metadata, read_table, write_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from elusive.scoring.loglikelihood import Scorer, Scores

logger = logs.get(__name__)


class Standing(enum.Enum):
    """What a table that exists is worth to a job, the most first."""

    CURRENT = enum.auto()  # it is what the job would write
    NUMBERS = enum.auto()  # its numbers are, but not what it says of the items or of itself
    IF_TOKENS = enum.auto()  # its numbers are, if the prompts still have the tokens that it was made with
    NOTHING = enum.auto()


@dataclass(frozen=True)
class Cell:
    """One benchmark of the job: its items, where its table goes, and the fingerprint that the table must carry.

    ``finished`` is the table's second name, if it gets one. ``fingerprint_by_items`` is what tables carry that have no
    hash of their ``prompts``.
    """

    items: Path
    output: Path
    finished: Path | None
    benchmark: str
    protocol: str
    items_sha256: str
    prompts_sha256: str
    num_choices: int
    unconditional: bool
    fingerprint: str
    fingerprint_by_items: str
    may_drop: bool

    def best(self) -> tuple[Standing, Path]:
        """The table to begin with, under its own or its second name, and what it is worth."""
        paths = [self.output, *([self.finished] if self.finished else [])]
        return min(((self.standing(path), path) for path in paths), key=lambda found: found[0].value)

    def standing(self, path: Path) -> Standing:
        """What the table at ``path`` is worth; nothing where there is none that can be read."""
        try:
            metadata = read_metadata(path)
        except ElusiveError:
            return Standing.NOTHING
        # A table that lacks items is one of a job that was allowed to leave them out.
        if metadata.get("dropped_items") and not self.may_drop:
            return Standing.NOTHING
        if metadata.get("fingerprint") == self.fingerprint:
            as_it_is = all(metadata.get(key) == value for key, value in self.description.items())
            if not as_it_is and not self._rows_agree(path, metadata):
                return Standing.NOTHING
            if not identity.are_installed(metadata.get("libraries", {})):
                return Standing.IF_TOKENS if "token_ids" in metadata else Standing.NOTHING
            return Standing.CURRENT if as_it_is else Standing.NUMBERS
        # By the items it is only of tables that name no other library than transformers.
        versions = {"transformers": metadata.get("versions", {}).get("transformers", "")}
        if metadata.get("fingerprint") == self.fingerprint_by_items and identity.are_installed(versions):
            return Standing.NUMBERS
        return Standing.NOTHING

    @property
    def description(self) -> dict[str, str]:
        """What the table's metadata say of the items, which may change without its numbers."""
        return {"benchmark": self.benchmark, "protocol": self.protocol, "items": self.items_sha256}

    def recover(self) -> Standing:
        """Take the best table there is, with what the items say now; returns what it was worth."""
        worth, path = self.best()
        if worth is Standing.CURRENT and path != self.output:
            link(path, self.output)
        elif worth is Standing.NUMBERS:
            self.adopt(path)
        return worth

    def adopt(self, path: Path) -> None:
        """Write the table with the numbers of the one at ``path``, which have to be right, and what the items say."""
        every, table = choices(read_table(self.items, "items")), read_table(path, "logprobs")
        metadata = read_metadata(path)
        if dropped := set(metadata.get("dropped_items") or ()):
            every = every.take(np.flatnonzero([item not in dropped for item in every.item]))
        for name, column in _columns_of_items(every).items():
            table = table.set_column(table.schema.get_field_index(name), name, column)
        now = {"fingerprint": self.fingerprint, "prompts": self.prompts_sha256, **self.description}
        installed = {name: identity.version(name) for name in metadata.get("libraries", identity.LIBRARIES)}
        write_table(table, self.output, "logprobs", metadata | now | {"libraries": installed})
        self.keep()

    def keep(self) -> None:
        """Give the table its second name."""
        if self.finished and not (self.finished.exists() and self.finished.samefile(self.output)):
            link(self.output, self.finished)

    def _rows_agree(self, path: Path, metadata: dict[str, Any]) -> bool:
        """Whether the rows of the table are the choices of the items, in their order."""
        dropped = set(metadata.get("dropped_items") or ())
        if not dropped:
            return pq.read_metadata(path).num_rows == self.num_choices
        # Which rows are lacking, only ids say; so these must be as they were.
        every = choices(read_table(self.items, "items"))
        return [item for item in every.item if item not in dropped] == read_table(path, "logprobs")["item"].to_pylist()


def cells(
    spec: Spec, revision: str, items: Sequence[Path], outputs: Sequence[Path], finished: Path | None = None
) -> list[Cell]:
    """The cells of a job on the checkpoint ``revision``; ``items`` and ``outputs`` belong together pairwise."""
    if len(items) != len(outputs):
        raise ElusiveError(f"{len(items)} items tables but {len(outputs)} outputs; they must be equally many")
    result = []
    for path, output in zip(items, outputs, strict=True):
        metadata, table = read_metadata(path), read_table(path, "items")
        protocol, benchmark = metadata.get("protocol", ""), metadata.get("benchmark", path.stem)
        unconditional = benchmark in spec.unconditional
        # Of the content, not the file, which may be written anew.
        content, prompts = content_hash(table), identity.prompts_hash(table)
        result.append(
            Cell(
                items=path,
                output=output,
                finished=finished / spec.model / spec.checkpoint / output.name if finished else None,
                benchmark=benchmark,
                protocol=protocol,
                items_sha256=content,
                prompts_sha256=prompts,
                num_choices=sum(table["num_choices"].to_pylist()),
                unconditional=unconditional,
                fingerprint=identity.fingerprint(spec, revision, prompts, unconditional),
                fingerprint_by_items=identity.fingerprint_by_items(spec, revision, content, protocol, unconditional),
                may_drop=spec.on_unscorable == "drop",
            )
        )
    return result


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
    checkpoint = CheckpointDirectory.open(directory, spec.revision, spec.repo)
    label = f"{spec.model}/{spec.checkpoint}"
    tokens = tokens or TokenCache()
    every = cells(spec, checkpoint.revision, items, outputs, finished)
    stale = settle(spec, checkpoint, every, tokens)
    for cell in every:
        if cell not in stale:
            _check_parameters(spec, read_metadata(cell.output).get("parameters"), cell.output)
            cell.keep()
    if len(stale) < len(every):
        logger.info("scoring %s: %d of %d tables are up to date", label, len(every) - len(stale), len(every))
    if stale and not checkpoint.has_weights:
        raise ElusiveError(
            f"{directory}: has no weights, since there was a table for every benchmark when they were left out; now "
            f"{', '.join(cell.benchmark for cell in stale)} has none. Run the same command again to download them"
        )
    if stale:
        tally = Tally()
        with tally.timing("import"):
            from elusive.scoring import devices, loading, loglikelihood  # noqa: F401
        with devices.reserve(spec.device) as device:
            path = _score_stale(spec, checkpoint, stale, every, device, tokens, tally)
        logger.info("scored %s (%s): %d tables, %s", label, path, len(stale), tally)
    return stale


def settle(spec: Spec, checkpoint: CheckpointDirectory, every: Sequence[Cell], tokens: TokenCache) -> list[Cell]:
    """Bring every table up to date that needs no weights; returns the cells of the others."""
    label = f"{spec.model}/{spec.checkpoint}"
    worth = [(cell, cell.recover()) for cell in every]
    if adopted := [cell.benchmark for cell, found in worth if found is Standing.NUMBERS]:
        logger.info("scoring %s: the numbers stay, what is said of the items changes: %s", label, ", ".join(adopted))
    unsure = [cell for cell, found in worth if found is Standing.IF_TOKENS]
    same = same_tokens(spec, checkpoint, unsure, tokens)
    for cell in same:
        cell.adopt(cell.best()[1])
    if same:
        names = ", ".join(cell.benchmark for cell in same)
        logger.info("scoring %s: other versions of libraries give the same tokens: %s", label, names)
    lacking = [cell for cell in unsure if cell not in same]
    return [cell for cell, found in worth if found is Standing.NOTHING or cell in lacking]


def same_tokens(spec: Spec, checkpoint: CheckpointDirectory, unsure: Sequence[Cell], tokens: TokenCache) -> list[Cell]:
    """Those of the cells ``unsure`` whose prompts have the tokens that their tables were made with.

    Loads the tokenizer, and no weights. What cannot be tokenised has no such tokens.
    """
    if not unsure or not (checkpoint.directory / CONFIG).is_file():
        return []
    import transformers

    found = []
    try:
        config = transformers.AutoConfig.from_pretrained(
            checkpoint.directory.absolute(), local_files_only=True, trust_remote_code=spec.trust_remote_code
        )
        prompts = Prompts(spec, checkpoint, config, tokens)
        for cell in unsure:
            requests = prompts.of(cell).requests
            if read_metadata(cell.best()[1]).get("token_ids") == requests.sha256:
                found.append(cell)
    except (ElusiveError, OSError, ValueError) as error:
        logger.info("%s/%s: cannot be tokenised without its model: %s", spec.model, spec.checkpoint, error)
    return found


def _score_stale(
    spec: Spec,
    checkpoint: CheckpointDirectory,
    stale: Sequence[Cell],
    every: Sequence[Cell],
    device: str,
    tokens: TokenCache,
    tally: Tally,
) -> str:
    """Score and write the ``stale`` ones of the job's cells one after the other; returns how the model was run.

    How is tried on all of the job's benchmarks, stale or not, so that a resumed job gives the same bytes.
    """
    from elusive.scoring.loglikelihood import Scorer, why_not_finite

    label = f"{spec.model}/{spec.checkpoint}"
    notes: list[str] = []
    with tally.timing("load"):
        model = _load(spec, checkpoint, device, notes)
    prompts = Prompts(spec, checkpoint, model.config, tokens)
    own_length = prompts.configured_length
    if spec.max_length is not None and own_length is not None and spec.max_length > own_length:
        notes.append(f"max_length {spec.max_length} exceeds the {own_length} tokens that the model is made for")

    def prepare(cell: Cell) -> Prepared:
        with tally.timing("tokenize"), _naming(checkpoint.directory):
            return prompts.of(cell)

    with tally.timing("tokenize"), _naming(checkpoint.directory):
        trial = prompts.trial(every)
        bos = prompts.bos
    notes += [bos] if bos else []
    with tally.timing("compute"), _naming(checkpoint.directory):
        scorer = Scorer(model, trial, prompts.max_length, spec.token_budget)
    for note in notes:
        logger.warning("%s: %s", label, note)
    # A job with one processor to compute on has none to spare.
    for cell, prepared in _ahead(prepare, stale, in_thread=device != "cpu" or spec.threads > 1):
        some, requests, where = prepared.choices, prepared.requests, f"{label} on {cell.benchmark}"
        _check_tokens(prepared, scorer, f"{checkpoint.directory}: {cell.benchmark}")
        own_notes = []
        if cut := prepared.num_truncated:
            own_notes.append(f"prompts longer than {prompts.max_length} tokens were cut, of {_items(cut)}")
        if lost := len(prepared.dropped):
            own_notes.append(f"{_items(lost)} cannot be scored and {'is' if lost == 1 else 'are'} left out")
        for note in own_notes:
            logger.warning("%s: %s", where, note)
        with tally.timing("compute"):
            progress = _ItemProgress(f"scoring {where}", np.resize(some.item_index, len(requests)))
            with _naming(f"{checkpoint.directory}: {cell.benchmark}"):
                scores = scorer.score(requests, progress)
        bad = np.flatnonzero(~np.isfinite(scores.log_likelihood))
        if len(bad):
            raise ElusiveError(
                f"{where}: the log-likelihood of {some.names[bad[0] % len(some.item)]} is "
                f"{scores.log_likelihood[bad[0]]}: {why_not_finite(model)}"
            )
        with tally.timing("write"):
            metadata = _metadata(spec, checkpoint, cell, model, prompts.max_length, scores.path) | {
                "bos_overruled": bos is not None,
                "truncated_items": cut,
                "dropped_items": prepared.dropped,
                "warnings": [*notes, *scores.warnings, *own_notes],
                "token_ids": requests.sha256,
            }
            write_table(_table(some, scores), cell.output, "logprobs", metadata)
            cell.keep()
        tally.counts["choices"] += len(some.item)
        tally.counts["tokens asked for"] += scores.tokens_asked
        tally.counts["tokens run"] += scores.tokens_run
    return scorer.path


@contextlib.contextmanager
def _naming(where: Path | str) -> Iterator[None]:
    """Put ``where`` before the message of an error that does not begin with it."""
    try:
        yield
    except ElusiveError as error:
        if str(error).startswith(str(where)):
            raise
        raise ElusiveError(f"{where}: {error}") from error


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _check_tokens(prepared: Prepared, scorer: Scorer, where: str) -> None:
    """Raise :class:`ElusiveError`, naming the item, for a token that the model cannot be fed or does not predict."""
    requests = prepared.requests
    embeddings, vocabulary = scorer.num_embeddings, scorer.vocabulary
    if len(requests.tokens) == 0 or requests.tokens.max() < min(embeddings or vocabulary, vocabulary):
        return
    for i in range(len(requests)):
        for tokens, rows, what in (
            (requests.fed(i), embeddings, "the embedding"),
            (requests.targets(i), vocabulary, "the output layer"),
        ):
            if rows is not None and tokens.max(initial=0) >= rows:
                name = prepared.choices.names[i % len(prepared.choices.item)]
                raise ElusiveError(
                    f"{where}: {name} has the token {tokens.max()}, but {what} of the model has {rows} rows (0 to "
                    f"{rows - 1}); the tokenizer is another model's, or has tokens that the model was not resized for"
                )


def _ahead(
    prepare: Callable[[Cell], Prepared], every: Sequence[Cell], in_thread: bool
) -> Iterator[tuple[Cell, Prepared]]:
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


def _load(spec: Spec, checkpoint: CheckpointDirectory, device: str, notes: list[str]) -> PreTrainedModel:
    from elusive.scoring.loading import load_model

    model = load_model(checkpoint.directory, spec.dtype, device, spec.threads, spec.trust_remote_code, notes)
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
        **_columns_of_items(every),
        "log_likelihood": arrow_numbers(scores.log_likelihood[:count]),
        "num_tokens": arrow_numbers(scores.num_tokens[:count]),
        "is_greedy": arrow_numbers(scores.is_greedy[:count].astype(np.int8)).cast(pa.bool_()),
    }
    if len(scores.log_likelihood) > count:
        columns["log_likelihood_unconditional"] = arrow_numbers(scores.log_likelihood[count:])
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _columns_of_items(every: Choices) -> dict[str, pa.Array]:
    """The columns that follow from the items alone."""
    return {
        "item": arrow_strings(every.item),
        "choice": arrow_numbers(every.choice),
        "is_gold": arrow_numbers(every.is_gold.astype(np.int8)).cast(pa.bool_()),
        "num_bytes": arrow_numbers(np.array([len(text.encode()) for text in every.text], np.int32)),
        "num_chars": arrow_numbers(np.array([len(text) for text in every.text], np.int32)),
    }


def _metadata(
    spec: Spec, checkpoint: CheckpointDirectory, cell: Cell, model: PreTrainedModel, max_length: int, path: str
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
        **({"repo": spec.repo, "reference": spec.revision} if spec.repo else {}),
        "revision": checkpoint.revision,
        "parameters": spec.parameters,
        "parameters_nonembedding": spec.parameters_nonembedding,
        "tokens": spec.tokens,
        "flops": flops,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "tokenizer": checkpoint.tokenizer,
        **cell.description,
        "prompts": cell.prompts_sha256,
        "path": path,
        "scorer": SCORER_VERSION,
        "fingerprint": cell.fingerprint,
        "libraries": identity.libraries(checkpoint.directory),
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
