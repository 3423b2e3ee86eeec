"""The plainest way to run a model: one sequence, no options, all its logits.

It is what every faster way is held against, and shares nothing with them: no batches, no padding, no masks, no cache
that lives on, none of the options of a model's ``forward`` that some models ignore. Equation (1) is written out: the
float32 log-softmax of the logits before each of the continuation's tokens, summed in float64.

Whether the model is one for which equation (1) holds is measured here as well: the log-probability of a token may not
depend on what comes after it (:meth:`Reference.leak`), nor on what the model was run on before
(:meth:`Reference.drift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from elusive.errors import ElusiveError
from elusive.scoring.tokenize import Requests

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Rows of logits that are turned into log-probabilities at a time.
_ROWS = 256


class OutOfMemory(ElusiveError):
    """A single sequence, with all its logits, does not fit into the device's memory."""


class Reference:
    """Runs ``model`` on single sequences.

    ``afresh`` says that the model remembers the longest sequence it has seen, as dynamic position encodings do, and
    forgets it when it is run on a single token, which is then done before every sequence.
    """

    def __init__(self, model: PreTrainedModel, afresh: bool = False) -> None:
        self._model, self._afresh = model, afresh
        self.vocabulary: int | None = None  # how many tokens the model predicts, once it has been run

    def logits(self, fed: np.ndarray) -> torch.Tensor:
        """Logits [tokens, vocabulary] behind each of the tokens ``fed``, in the model's own type.

        Raises :class:`ElusiveError` where the model cannot be run or returns something else.
        """
        self.forget()
        logits = self._run(fed)
        self.vocabulary = logits.shape[-1]
        return logits

    def _run(self, fed: np.ndarray) -> torch.Tensor:
        model = self._model
        name = type(model).__name__
        tokens = torch.from_numpy(np.ascontiguousarray(fed, np.int64)).to(model.device)
        try:
            with torch.inference_mode():
                logits = model(tokens[None]).logits
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"out of memory on {model.device} with a single sequence of {len(fed)} tokens; "
                "choose a shorter max_length or another device"
            ) from error
        except (Exception, SystemExit) as error:  # a model's own code may end the program
            raise ElusiveError(
                f"{name} cannot be run on a sequence of {len(fed)} tokens: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(logits, torch.Tensor) or logits.ndim != 3 or logits.shape[:2] != (1, len(fed)):
            what = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ElusiveError(
                f"{name}: run on one sequence of {len(fed)} tokens it returns logits {what}, not (1, {len(fed)}, "
                "vocabulary): it is no causal language model"
            )
        return logits[0]

    def forget(self) -> None:
        """Make the model forget what it was run on, if it is one that remembers."""
        if self._afresh:
            self._run(np.zeros(1, np.int64))

    @staticmethod
    def read(logits: torch.Tensor, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probability (float32) of each of ``targets`` in its row of ``logits`` [targets, vocabulary].

        And whether it is the most probable token, the lowest among equals.
        """
        values, greedy = [], []
        wanted = torch.from_numpy(np.ascontiguousarray(targets, np.int64)).to(logits.device)
        for start in range(0, len(wanted), _ROWS):
            rows = torch.log_softmax(logits[start : start + _ROWS].float(), dim=-1)
            some = wanted[start : start + _ROWS]
            values.append(rows.gather(-1, some[:, None])[:, 0])
            greedy.append(rows.argmax(dim=-1) == some)
        return torch.cat(values).cpu().numpy(), torch.cat(greedy).cpu().numpy()

    def score(self, requests: Requests) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood (float64, nats) of every request and whether it is greedy, shorter ones first."""
        log_likelihood, is_greedy = np.zeros(len(requests)), np.zeros(len(requests), bool)
        for users in same_inputs(requests):
            logits = self.logits(requests.fed(users[0]))
            for i in users:
                targets = requests.targets(i)
                values, greedy = self.read(logits[-len(targets) :], targets)
                log_likelihood[i] = values.astype(np.float64).sum()
                is_greedy[i] = greedy.all()
        return log_likelihood, is_greedy

    def leak(self, fed: np.ndarray) -> np.ndarray:
        """How far (nats) the log-probabilities of the tokens ``fed`` move when later tokens are others.

        Once the last token is another one, once the second half; every token is predicted from those before the change
        alone. Empty for a single token.
        """
        if len(fed) < 2:
            return np.zeros(0)
        before, _ = self.read(self.logits(fed)[:-1], fed[1:])
        low, high = int(fed.min()), int(fed.max())
        if low == high:
            high = 1 if low == 0 else 0
        moved = []
        for cut in sorted({len(fed) - 1, len(fed) // 2}):
            changed = fed.copy()
            changed[cut:] = np.where(fed[cut:] == low, high, low)
            after, _ = self.read(self.logits(changed)[:cut], fed[1 : cut + 1])
            moved.append(np.abs(after - before[:cut]))
        return np.concatenate(moved)

    def drift(self, requests: Requests, before: np.ndarray) -> np.ndarray:
        """How far (nats) log-likelihoods lie from ``before``, those of :meth:`score`, when longer ones come first."""
        again = np.zeros(len(requests))
        for users in same_inputs(requests)[::-1]:
            logits = self.logits(requests.fed(users[0]))
            for i in users:
                targets = requests.targets(i)
                again[i] = self.read(logits[-len(targets) :], targets)[0].astype(np.float64).sum()
        return np.abs(again - before)


def same_inputs(requests: Requests) -> list[list[int]]:
    """Indices of the requests that are fed the same tokens, each with its like, shorter ones first."""
    users: dict[bytes, list[int]] = {}
    for i in range(len(requests)):
        users.setdefault(np.ascontiguousarray(requests.fed(i)).tobytes(), []).append(i)
    return [users[key] for key in sorted(users, key=lambda key: (len(key), users[key][0]))]


def spread(requests: Requests, count: int) -> Sequence[int]:
    """Indices of up to ``count`` requests, from the shortest to the longest."""
    order = np.argsort(np.diff(requests.offsets), kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))].tolist() if len(order) else []
