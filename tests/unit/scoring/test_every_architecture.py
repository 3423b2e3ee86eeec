"""Every causal architecture of the pinned transformers: the numbers of single sequences and of lm-eval, or a refusal.

A small random model of each is saved, loaded as a job loads it, and scored on sequences that share beginnings, on both
sides of its windows and of the lengths that its configuration names.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from lm_eval.models.huggingface import HFLM

from elusive.errors import ElusiveError
from elusive.scoring import loading
from elusive.scoring.loglikelihood import Scorer, tolerance_of
from elusive.scoring.tokenize import Requests, pack
from scoring_checkpoints import train_tokenizer
from small_models import LENGTH, TYPES, VOCABULARY, small_model

#: Types of which no small model can be made here, or which no text alone can be given to: what making one says.
NOT_MADE: set[str] = set()


@pytest.fixture(scope="session")
def tokenizer(archive_path, tmp_path_factory):
    directory = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"), vocabulary=VOCABULARY)
    return transformers.AutoTokenizer.from_pretrained(directory)


def requests_of(seed: int = 0) -> Requests:
    """Requests of 2 to 255 tokens: items with several choices behind one context, prefixes of each other, and twins."""
    generator = np.random.default_rng(seed)

    def some(count: int) -> list[int]:
        return generator.integers(2, VOCABULARY, count).tolist()

    pairs = []
    shared = some(40)
    for length in (1, 3, 9, 14, 15, 16, 17, 18, 31, 33, 60, 120, 200, 240):
        context = shared[:length] if length % 2 else some(length)
        for count in (1, 3, 6):
            pairs.append((context, some(count)))
    pairs.append((shared[:9], shared[9:20]))
    pairs.append(pairs[0])
    return pack([(np.array((c + k)[:-1]), np.array(k)) for c, k in pairs])


def plainly(model: transformers.PreTrainedModel, requests: Requests) -> np.ndarray:
    """Log-likelihoods by a model that has never run before, for every sequence anew."""
    values = []
    for i in range(len(requests)):
        fresh = copy.deepcopy(model)
        with torch.no_grad():
            logits = fresh(torch.from_numpy(requests.fed(i).astype(np.int64))[None]).logits[0]
        targets = torch.from_numpy(requests.targets(i).astype(np.int64))
        rows = torch.log_softmax(logits[-len(targets) :].double(), dim=-1)
        values.append(float(rows[torch.arange(len(targets)), targets].sum()))
    return np.array(values)


def by_lm_eval(model: transformers.PreTrainedModel, tokenizer: object, requests: Requests) -> np.ndarray:
    """lm-eval's log-likelihoods of the same tokens, one sequence at a time and by a fresh model each time."""
    values = []
    for i in range(len(requests)):
        harness = HFLM(
            pretrained=copy.deepcopy(model),
            tokenizer=tokenizer,
            backend="causal",
            batch_size=1,
            max_length=LENGTH,
            softmax_dtype="float32",
            logits_cache=False,
        )
        fed, targets = requests.fed(i).tolist(), requests.targets(i).tolist()
        context = fed[: len(fed) + 1 - len(targets)]
        ((value, _),) = harness._loglikelihood_tokens([(("", ""), context, targets)], disable_tqdm=True)
        values.append(value)
    return np.array(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_agrees_or_is_refused(tokenizer, tmp_path, name):
    try:
        made = small_model(name)
    except Exception as error:
        assert name in NOT_MADE, error
        pytest.skip(f"{name}: {type(error).__name__}")
    assert name not in NOT_MADE
    made.save_pretrained(tmp_path)
    requests = requests_of()
    try:
        model = loading.load_model(tmp_path)
        for key, buffer in made.named_buffers():
            assert torch.equal(dict(model.named_buffers())[key], buffer), key
        untouched = copy.deepcopy(model)
        scorer = Scorer(model, requests, LENGTH)
        found = scorer.score(requests).log_likelihood
    except ElusiveError as error:
        pytest.skip(f"refused: {error}")
    expected = plainly(untouched, requests)
    far = np.abs(found - expected) / tolerance_of(expected)
    assert far.max() <= 1, (scorer.path, far.max())
    some = [0, 7, 20, len(requests) - 3]
    theirs = by_lm_eval(untouched, tokenizer, requests.take(some))
    assert (np.abs(theirs - found[some]) <= tolerance_of(theirs)).all()
