"""Equation (1): log p(continuation | context), the sum over the continuation's tokens of their log-probabilities.

Logits are turned into log-probabilities in float32 whatever the model's own type, and the float32 values of a
continuation's tokens are summed in float64. ``is_greedy`` says whether every token is the most probable one (lowest
token id among equals). Logits are computed only behind the positions that predict a continuation's token.

A model is run in the fastest way that it supports and that gives, on a sample of the requests, what running each
sequence by itself gives (``reference``). A way is named by its parts:

- ``packed``: inputs that start alike share a row, rows are packed without padding (``packed``); or ``plain``: padded
  rows of one input each, shortest last; or ``single``: one sequence at a time, as the reference is;
- ``onednn``: linear layers on prepacked weights (``onednn``);
- ``head``: the output layer is applied directly, in blocks (``vocabulary``), which a model that rescales its logits
  does not allow; ``whole``: the model's own ``forward`` computes the logits of all positions, where it cannot do so for
  some; without either it computes them for those that are read;
- ``one_length``: the sequences of a batch are equally long, where the encoding of positions depends on the length.

No model is run in a way that does not agree: where none of the fast ones does, sequences go through the model one by
one, and the table says so. What no way of running makes right is refused: a model whose log-probabilities depend on
later tokens, or on what it was run on before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from elusive import logs
from elusive.errors import ElusiveError
from elusive.scoring import lengths, onednn, packed, precision, reference, vocabulary
from elusive.scoring.plan import Batch, Limits, halve, plan
from elusive.scoring.tokenize import Requests

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logs.get(__name__)

#: The most memory that whole rows of float32 logits may take on a CPU, where the output layer is not applied directly.
CPU_LOGITS_BYTES = 32 << 20
#: Tokens up to which inputs join a row on an accelerator, whose batches hold many rows padded to the longest of them:
#: without it a third of MMLU's 5-shot FLOPs at Pythia-1.4B's shape go into scores that the mask takes out, with it 5 %.
ACCELERATOR_ROW = 512
#: The most requests on which a way of running the model is compared with single sequences.
_SAMPLE = 96
#: What is said of scores that no faster way gave.
SINGLE = "no faster way of running the model agrees with single sequences, so they were run one by one"
#: Requests, from the shortest to the longest, that are run again to see whether the model remembers.
_AGAIN = 3


@dataclass(frozen=True)
class Scores:
    """One value per request."""

    log_likelihood: np.ndarray  # [requests] float64, nats
    is_greedy: np.ndarray  # [requests] bool
    num_tokens: np.ndarray  # [requests] int32, tokens of the continuation
    tokens_run: int  # tokens that went through the model, padding included
    tokens_asked: int  # tokens of all requests, each by itself
    path: str = ""  # the way in which the model was run
    warnings: tuple[str, ...] = ()  # what is to be said of these scores


@dataclass(frozen=True)
class Way:
    """How a model is run."""

    packed: bool = False
    onednn: bool = False
    head: bool = False
    whole: bool = False
    one_length: bool = False
    single: bool = False

    def __str__(self) -> str:
        parts = ["packed" if self.packed else "single" if self.single else "plain"]
        return "+".join(parts + [name for name in ("onednn", "head", "whole", "one_length") if getattr(self, name)])


class Scorer:
    """Scores requests under ``model`` on the device where it lies.

    ``sample`` are requests like those to come (tokenised for the same ``max_length``), among them a long one, on which
    the ways of running the model are tried; a few are taken where they are very many. ``token_budget`` bounds the
    tokens of a batch; None chooses by the model's width. Results depend on way and budget by no more than rounding.

    ``warnings`` is what the trial has to say. Raises :class:`ElusiveError` where nothing makes the scores right.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        sample: Requests,
        max_length: int,
        token_budget: int | None = None,
        way: Way | None = None,
    ) -> None:
        self._model = model
        self._budget = token_budget or default_token_budget(model)
        self._ceiling = 1 << 62  # tokens of a batch that did fit, once one has not
        self._way = Way()
        self._head: vocabulary.Head | None = None
        self._prefix: tuple[np.ndarray, list[packed.KeysValues]] = (np.zeros(0, np.int64), [])
        self._lengths = lengths.named(model.config)
        self._by_length = lengths.changed_by_length(model.config)
        self._reference = reference.Reference(model, afresh=lengths.remembered(model.config))
        self._undo: Callable[[], None] = lambda: None  # makes the model run as it was
        self._noise = precision.expected_noise(model)  # in half precision, of right ways
        self._tried = 0  # tokens of the longest sequence of the trial
        self.warnings: tuple[str, ...] = ()
        if way is not None:
            self._undo = self._adopt(way)
            return
        sample = self._within_embedding(sample)
        sample = sample if len(sample) <= _SAMPLE else _typical(sample)
        if len(sample):
            sample = sample + lengths.around(sample, self._lengths)
            self._choose(sample, max_length)
        else:  # of tokens that the model does not have, which is said of the first item
            self._undo = self._adopt(Way(single=True))

    @property
    def path(self) -> str:
        """The way in use, for the metadata."""
        return str(self._way)

    @property
    def num_embeddings(self) -> int | None:
        """How many tokens the model can be fed, None where it does not tell."""
        try:
            return len(self._model.get_input_embeddings().weight)
        except (AttributeError, NotImplementedError, TypeError):
            return None

    @property
    def vocabulary(self) -> int:
        """How many tokens the model predicts."""
        if self._reference.vocabulary is None:
            output = self._model.get_output_embeddings()
            if output is not None:
                return len(output.weight)
            self._reference.logits(np.zeros(1, np.int64))
        return self._reference.vocabulary

    def score(self, requests: Requests, progress: Callable[[np.ndarray, int], None] | None = None) -> Scores:
        """Scores of ``requests``; ``progress`` is called with the requests that a batch settled and its tokens.

        Where they go beyond a length that the trial has not seen and the model's configuration names, the way in use
        is held against single sequences once more, and not used for them if it does not agree.
        """
        if self._way.single:
            return self._score_single(requests, progress)
        longest = int((np.diff(requests.offsets) - 1).max(initial=0))
        beyond = lengths.crossed(self._lengths, self._tried, longest) if self._tried else []
        if beyond and not self._holds(requests, beyond):
            logger.warning(
                "%s: does not agree with single sequences of more than %d tokens, which are run instead",
                self._way,
                self._tried,
            )
            with self._plainly():
                return self._score_single(requests, progress)
        return self._score(requests, progress, self._budget)

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        """In the block, the model is as it was before it was made to run in the way in use."""
        way = self._way
        self._undo()
        try:
            yield
        finally:
            self._undo = self._adopt(way)

    def _score_single(self, requests: Requests, progress: Callable[[np.ndarray, int], None] | None) -> Scores:
        """As :meth:`score`, one sequence at a time."""
        log_likelihood, is_greedy, tokens_run = np.zeros(len(requests)), np.zeros(len(requests), bool), 0
        for users in reference.same_inputs(requests):
            some = requests.take(users)
            log_likelihood[users], is_greedy[users] = self._reference.score(some)
            tokens_run += len(some.fed(0))
            if progress is not None:
                progress(np.array(users), len(some.fed(0)))
        asked = len(requests.tokens) - len(requests)
        return Scores(
            log_likelihood, is_greedy, requests.num_targets, tokens_run, asked, str(Way(single=True)), (SINGLE,)
        )

    def _score(
        self,
        requests: Requests,
        progress: Callable[[np.ndarray, int], None] | None,
        budget: int,
        group_cost: int | None = None,
    ) -> Scores:
        log_likelihood = np.zeros(len(requests))
        is_greedy = np.zeros(len(requests), bool)
        tokens_run = 0
        limits = Limits(
            tokens=min(budget, self._select_limit) if self._way.whole else budget,
            selected=self._select_limit,
            branching=self._way.packed,
            pairs_per_token=max(256, _width(self._model) // 2),
            group_cost=max(256, budget // 4) if group_cost is None else group_cost,
            row=1 << 62 if self._model.device.type == "cpu" else ACCELERATOR_ROW,
            one_length=self._way.one_length,
        )
        pending = plan(requests, limits)[::-1]
        with torch.inference_mode():
            while pending:
                batch = pending.pop()
                if len(batch.tokens) > self._ceiling and (halves := halve(batch)):
                    pending.extend(halves[::-1])
                    continue
                result = self._try(batch)
                if result is None:  # outside of the handler, which keeps what the attempt had allocated
                    self._ceiling = len(batch.tokens) // 2
                    logger.info("out of memory: batches of at most %d tokens from here on", self._ceiling)
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()
                    pending.append(batch)
                    continue
                values, greedy, tokens = result
                starts = np.flatnonzero(np.diff(batch.pick_request, prepend=-1))
                settled = batch.pick_request[starts]
                log_likelihood[settled] = np.add.reduceat(values.astype(np.float64), starts)
                is_greedy[settled] = np.logical_and.reduceat(greedy, starts)
                tokens_run += tokens
                if progress is not None:
                    progress(settled, tokens)
        self._prefix = (np.zeros(0, np.int64), [])
        asked = len(requests.tokens) - len(requests)
        return Scores(log_likelihood, is_greedy, requests.num_targets, tokens_run, asked, self.path, self.warnings)

    def _choose(self, sample: Requests, max_length: int) -> None:
        """Take the first way that agrees with single sequences; where none does, single sequences."""
        half = self._model.dtype != torch.float32
        prepacked = self._model.device.type == "cpu" and not half and onednn.available()
        faster = [True] if prepacked else []
        ways = [
            Way(packed=p, onednn=o, head=h)
            for p in ([True] if packed.fits(self._model, max_length) else []) + [False]
            for o in [*faster, False]
            for h in (True, False)
        ]
        ways += [Way(onednn=o, whole=True) for o in [*faster, False]]
        alike = [replace(way, one_length=True) for way in ways if not way.packed]
        expected, sample = self._expected(sample)
        if not len(sample):
            self._undo = self._adopt(Way(single=True))
            return
        attempt = self._choose_half if half else self._choose_single
        if not self._by_length and attempt(ways, sample, expected):
            return
        more = lengths.alike(sample)
        expected = np.concatenate([expected, self._reference.score(more)[0]])
        if attempt(alike, sample + more, expected):
            return
        logger.warning("%s: %s", type(self._model).__name__, SINGLE)
        self._undo = self._adopt(Way(single=True))
        self.warnings = (SINGLE,)

    def _choose_single(self, ways: list[Way], sample: Requests, expected: np.ndarray) -> bool:
        """Take the first of ``ways`` that agrees with ``expected`` in single precision; returns if there is one."""
        self._confirm_causal(sample)
        return self._take_first(ways, sample, lambda found: _excess(found, expected))

    def _choose_half(self, ways: list[Way], sample: Requests, expected: np.ndarray) -> bool:
        """As :meth:`_choose_single` in half precision.

        Rounding covers up small mistakes (a missing cap on logits, say), so whether a way computes the right thing is
        seen in float32, and in half precision only whether it rounds no worse than others.
        """
        exact: np.ndarray | None = None
        ceiling = self._ceiling
        with precision.in_float32(self._model) as possible:
            if possible:
                try:
                    exact, _ = self._reference.score(sample)
                except ElusiveError as error:  # for lack of memory or of operators
                    logger.info("ways of running the model cannot be compared in float32 (%s)", error)
            if exact is not None and not np.isfinite(exact).all():
                exact = None
            if exact is not None:
                self._confirm_causal(sample)
                ways = [way for way in ways if self._take_first([way], sample, lambda x: _excess(x, exact), False)]
        self._ceiling = ceiling
        if exact is None:
            self._confirm_causal(sample, self._noise)
            against, bound = expected, self._noise
        else:
            against = exact
            bound = precision.NOISE_RATIO * precision.noise(expected - exact, sample.num_targets)
            self._noise = min(self._noise, bound + 1e-4)
        return self._take_first(
            ways, sample, lambda found: precision.noise(found - against, sample.num_targets) / (bound + 1e-4)
        )

    def _within_embedding(self, requests: Requests) -> Requests:
        """Those of ``requests`` whose tokens the model has; the others are refused by name when it is their turn."""
        rows = self.num_embeddings
        good = [i for i in range(len(requests)) if rows is None or requests.fed(i).max(initial=0) < rows]
        return requests if len(good) == len(requests) else requests.take(good)

    def _expected(self, sample: Requests) -> tuple[np.ndarray, Requests]:
        """Log-likelihoods of single sequences, and the requests that have them: those whose targets the model predicts.

        Raises :class:`ElusiveError` where one is not a finite number, with the reason, and where the model does not
        give a sequence the same scores every time.
        """
        self._reference.logits(sample.fed(0)[:1])
        good = [i for i in range(len(sample)) if sample.targets(i).max(initial=0) < self.vocabulary]
        sample = sample if len(good) == len(sample) else sample.take(good)
        while True:
            try:
                expected, _ = self._reference.score(sample)
                break
            except reference.OutOfMemory as error:
                sizes = np.diff(sample.offsets) - 1
                shorter = np.flatnonzero(sizes < sizes.max(initial=0))
                if not len(shorter):
                    raise
                logger.info("%s; ways of running the model are compared on shorter ones", error)
                sample = sample.take(shorter)
                torch.cuda.empty_cache()
        self._tried = int((np.diff(sample.offsets) - 1).max(initial=0))
        if not np.isfinite(expected).all():
            bad = int(np.flatnonzero(~np.isfinite(expected))[0])
            raise ElusiveError(
                f"{type(self._model).__name__}: the log-likelihood of a continuation is {expected[bad]}: "
                f"{why_not_finite(self._model)}"
            )
        chosen = reference.spread(sample, _AGAIN)
        again = sample.take(chosen)
        drift = self._reference.drift(again, expected[chosen])
        half = self._model.dtype != torch.float32
        bound = 4 * self._noise * again.num_targets**0.5 if half else tolerance_of(expected[chosen])
        if not (drift <= bound).all():
            raise ElusiveError(
                f"{type(self._model).__name__}: the log-likelihood of the same sequence is another one each time, by "
                f"up to {drift.max():.2g} nats; the model draws random numbers, or remembers what it was run on before"
            )
        return expected, sample

    def _confirm_causal(self, sample: Requests, noise: float | None = None) -> None:
        """Raise :class:`ElusiveError` where log-probabilities of earlier tokens depend on later ones.

        ``noise`` is how far rounding may move a token's where the model runs in half precision.
        """
        fed = sample.fed(int(np.diff(sample.offsets).argmax()))
        moved = self._reference.leak(fed).max(initial=0)
        if not moved <= (1e-4 if noise is None else noise):  # which NaN is not either
            raise ElusiveError(
                f"{type(self._model).__name__}: the log-probabilities of earlier tokens move by up to {moved:.2g} nats "
                f"when later tokens of a sequence of {len(fed)} change, so it is no causal language model and "
                f"log p(continuation | context) is not what it computes{_why_not_causal(self._model)}"
            )

    def _holds(self, requests: Requests, beyond: list[int]) -> bool:
        """Whether the way in use agrees with single sequences on both sides of the lengths ``beyond``."""
        some = requests.take(reference.spread(requests, _AGAIN))
        some = some + lengths.around(some, beyond) + lengths.alike(some)
        with self._plainly():
            expected, _ = self._reference.score(some)
        try:
            found = self._score(some, None, self._budget, group_cost=0).log_likelihood
        except Exception as error:
            logger.info("%s: not possible (%s: %s)", self._way, type(error).__name__, error)
            return False
        if self._model.dtype == torch.float32:
            return _excess(found, expected) <= 1
        return precision.noise(found - expected, some.num_targets) <= 2 * self._noise

    def _take_first(
        self, ways: list[Way], sample: Requests, excess: Callable[[np.ndarray], float], keep: bool = True
    ) -> bool:
        """Adopt the first way whose log-likelihoods of ``sample`` have an excess of at most 1; returns if there is one.

        With ``keep`` False it is only tried.
        """
        for way in ways:
            undo = lambda: None  # noqa: E731
            good = False
            try:
                undo = self._adopt(way)
                # No cost for a group, so that shared prefixes are tried as well.
                worst = excess(self._score(sample, None, self._budget, group_cost=0).log_likelihood)
                good = worst <= 1
                if not good:
                    logger.info("%s: %.2g times as far off as rounding explains, not used", way, worst)
            except Exception as error:  # a model's own code may raise anything
                logger.info("%s: not possible (%s: %s), not used", way, type(error).__name__, error)
            if good and keep:
                self._undo = undo
                return True
            undo()
            if good:
                return True
        return False

    def _adopt(self, way: Way) -> Callable[[], None]:
        """Make the model run in ``way``; returns what undoes it."""
        model, before = self._model, (self._head, self._way)
        output = model.get_output_embeddings() if way.head or way.onednn else None
        replaced = onednn.replace_linears(model, keep=output) if way.onednn else {}
        attention = packed.use(model) if way.packed else None
        self._head = vocabulary.Head(output, way.onednn) if way.head else None
        self._way = way
        self._prefix = (np.zeros(0, np.int64), [])  # may be of another way or precision

        def undo() -> None:
            onednn.restore(model, replaced)
            if attention is not None:
                model.set_attn_implementation(attention)
            self._head, self._way = before

        return undo

    @property
    def _select_limit(self) -> int:
        """How many distributions a batch may be asked for."""
        if self._head is not None:
            return 1 << 62  # which works in blocks of its own
        on_cpu = self._model.device.type == "cpu"
        most = CPU_LOGITS_BYTES if on_cpu else vocabulary.ACCELERATOR_BYTES
        return max(1, most // (4 * self.vocabulary))

    def _try(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, int] | None:
        """As :meth:`_run`, or None when memory did not suffice and a smaller batch may do."""
        try:
            return self._run(batch)
        except torch.OutOfMemoryError as error:
            if len(batch.row_lengths) > 1:
                return None
            raise ElusiveError(
                f"out of memory on {self._model.device} with a single sequence of {len(batch.tokens)} tokens; "
                "choose a shorter max_length or another device"
            ) from error

    def _run(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, int]:
        """Log-probability (float32) and greediness of every pick, and the number of tokens run."""
        device = self._model.device
        order = np.argsort(batch.pick_select, kind="stable")
        row, token = (packed.to_device(x[order], device) for x in (batch.pick_select, batch.pick_token))
        self._reference.forget()
        tokens = self._run_prefix(batch.prefix)
        inputs, places = self._packed_inputs(batch) if self._way.packed else self._padded_inputs(batch)
        tokens += inputs["input_ids"].numel()
        if self._head is not None:
            values, greedy = self._head.read(self._hidden(inputs)[places], row, token)
        else:
            values, greedy = self._read_forward(inputs, places, row, token)
        result = np.empty(len(order), np.float32), np.empty(len(order), bool)
        result[0][order] = values.cpu().numpy()
        result[1][order] = greedy.cpu().numpy()
        return *result, tokens

    def _padded_inputs(self, batch: Batch) -> tuple[dict[str, Any], torch.Tensor]:
        """Arguments of the model, and the places of the selected nodes in its flattened output."""
        rows, width = len(batch.row_lengths), int(batch.row_lengths.max())
        row = np.repeat(np.arange(rows), batch.row_lengths)
        tokens = np.zeros((rows, width), np.int64)
        # Padding is on the right with token 0 and without a mask, as lm-eval does it: causal models do not see it.
        tokens[row, batch.positions] = batch.tokens
        places = row[batch.select] * width + batch.positions[batch.select]
        device = self._model.device
        return {"input_ids": packed.to_device(tokens, device)}, packed.to_device(places, device)

    def _packed_inputs(self, batch: Batch) -> tuple[dict[str, Any], torch.Tensor]:
        """As :meth:`_padded_inputs`, for one sequence of all rows."""
        device, dtype = self._model.device, self._model.dtype
        lengths, tokens, positions, select = batch.row_lengths, batch.tokens, batch.positions, batch.select
        size = len(lengths) * int(lengths.max())
        # Running a little padding takes less time than taking it out for all layers but attention: the narrower the
        # model, the more.
        padded = size <= len(tokens) * (1 + min(0.08, 6 / _width(self._model)))
        if padded:
            places = packed.places(lengths)
            tokens, positions = np.zeros((2, size), np.int64)
            tokens[places], positions[places] = batch.tokens, batch.positions
            select = places[select]
        inputs = {
            "input_ids": packed.to_device(tokens, device)[None],
            "position_ids": packed.to_device(positions, device)[None],
            "elusive_layout": packed.layout(lengths, batch.ends, self._prefix[1], device, dtype, padded),
        }
        return inputs, packed.to_device(select, device)

    def _run_prefix(self, prefix: np.ndarray) -> int:
        """See to it that the keys and values of ``prefix`` are at hand; returns the number of tokens run."""
        if np.array_equal(prefix, self._prefix[0]):
            return 0
        self._prefix = (np.zeros(0, np.int64), [])  # until the new one is complete
        if not len(prefix):
            return 0
        device, length = self._model.device, len(prefix)
        one_row = packed.layout(
            np.array([length]), np.full(length, length), [], device, self._model.dtype, True, keep=True
        )
        positions = torch.arange(length, device=device)[None]
        tokens = packed.to_device(prefix, device)[None]
        self._hidden({"input_ids": tokens, "position_ids": positions, "elusive_layout": one_row})
        self._prefix = (prefix, one_row.kept)
        return length

    def _hidden(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Hidden states [nodes or places, width] before the output layer."""
        hidden = self._model.base_model(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)
        self._confirm(inputs)
        return hidden

    def _read_forward(
        self, inputs: dict[str, Any], places: torch.Tensor, row: torch.Tensor, token: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What :meth:`vocabulary.Head.read` returns, from the logits that the model itself computes."""
        if self._way.whole:
            logits = self._model(**inputs).logits
            if logits.shape[:2] != inputs["input_ids"].shape:
                raise packed.Unfit(f"logits {tuple(logits.shape)} of tokens {tuple(inputs['input_ids'].shape)}")
            return vocabulary.read([(0, logits.flatten(0, 1)[places])], row, token)
        limit, shape = self._select_limit, inputs["input_ids"].shape
        values, greedy = [], []
        # More than one round only for a single row with more continuation tokens than the logits' memory allows.
        for first in range(0, len(places), limit):
            keep = torch.zeros(shape, dtype=torch.bool, device=places.device)
            keep.view(-1)[places[first : first + limit]] = True
            logits = self._model(**inputs, use_cache=False, logits_to_keep=keep).logits.flatten(0, -2)
            self._confirm(inputs)
            if len(logits) != min(limit, len(places) - first):  # some models ignore what they are asked for
                raise packed.Unfit(f"{len(logits)} rows of logits, not the {min(limit, len(places) - first)} asked for")
            here = (row >= first) & (row < first + limit)
            some = vocabulary.read([(0, logits)], row[here] - first, token[here])
            values.append(some[0])
            greedy.append(some[1])
        return torch.cat(values), torch.cat(greedy)

    def _confirm(self, inputs: dict[str, Any]) -> None:
        """Raise unless every layer's attention was the packed one."""
        if (now := inputs.get("elusive_layout")) is not None:
            layers = self._model.config.get_text_config().num_hidden_layers
            if now.layers_run != layers:
                raise packed.Unfit(f"attention ran {now.layers_run} times in {layers} layers")
            now.layers_run = 0


def tolerance_of(log_likelihood: np.ndarray) -> np.ndarray:
    """How far float32 log-likelihoods may lie apart that differ in the order of their sums: a few ulps, in nats."""
    return 1e-4 + 1e-6 * np.abs(log_likelihood)


def _excess(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in units of the tolerance."""
    return float((np.abs(found - expected) / tolerance_of(expected)).max(initial=0))


def default_token_budget(model: PreTrainedModel) -> int:
    """Tokens per batch whose activations stay in a processor's cache, or take part of an accelerator's memory."""
    if model.device.type == "cpu":
        return int(np.clip((1 << 17) // _width(model), 1024, 4096))
    free = torch.cuda.mem_get_info(model.device)[0] if model.device.type == "cuda" else 4 << 30
    return budget_for(free, _width(model), model.dtype.itemsize)


def budget_for(free_bytes: int, width: int, itemsize: int) -> int:
    """Tokens of a batch on an accelerator with ``free_bytes`` to spare.

    A layer holds about 24 numbers per token and unit of width at a time (four of them of the feed-forward's width),
    a fifth of the memory is left for what fragmentation and blocks of logits take. Half of the rest is used.
    """
    usable = 0.8 * free_bytes - vocabulary.ACCELERATOR_BYTES
    return int(np.clip(usable / 2 / (24 * width * itemsize), 2048, 65536))


def _width(model: PreTrainedModel) -> int:
    config = model.config.get_text_config()
    for name in ("hidden_size", "d_model", "n_embd"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    return 1024


def why_not_finite(model: PreTrainedModel) -> str:
    """Why a log-likelihood under ``model`` is no finite number, and what to do about it."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            return f"in the weights, {bad} of the values of {name!r} are no finite numbers; the checkpoint is broken"
    if model.dtype == torch.float32:
        return "the weights are finite, but what the model computes from them in float32 is not"
    other = "bfloat16 or float32" if model.dtype == torch.float16 else "float32"
    return f"{str(model.dtype).removeprefix('torch.')} overflows on some models, try {other}"


def _why_not_causal(model: PreTrainedModel) -> str:
    config = model.config.get_text_config()
    if getattr(config, "is_decoder", None) is False:
        return "; its configuration says is_decoder: false, under which every token sees all others"
    return ""


def _typical(requests: Requests) -> Requests:
    """A few requests: the first ones, the longest one and its neighbours, and some from in between."""
    count = len(requests)
    longest = int(np.diff(requests.offsets).argmax())
    wanted = [*range(4), *range(longest - 2, longest + 3), *range(count // 3, count // 3 + 3)]
    return requests.take(sorted({i for i in wanted if 0 <= i < count}))
