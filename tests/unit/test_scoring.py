"""Log-likelihoods against lm-eval 0.4.13 on the same model and requests, and what they may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.sources import archive_rows
from elusive.scoring import loading, loglikelihood
from elusive.scoring.plan import halve, plan
from elusive.scoring.tokenize import pack, resolve_max_length, tokenize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval_tasks import lm_eval_requests
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer

ITEMS = 12


@pytest.fixture(scope="module")
def checkpoint(archive_path, tmp_path_factory):
    """Model and tokenizer as a job loads them from disk."""
    directory = tmp_path_factory.mktemp("checkpoint")
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))
    return loading.load(save_checkpoint(random_model(neox_config()), tokenizer, directory))


@pytest.fixture(scope="module")
def rows(archive_path):
    """The first rows of every benchmark, for MMLU from several subjects."""
    with Archive(archive_path) as archive:
        every = {name: archive_rows(name, archive).rows for name in BENCHMARKS}
    return {name: some[:: len(some) // ITEMS][:ITEMS] for name, some in every.items()}


def lm_eval_scores(model, tokenizer, pairs, max_length=None, **options):
    """lm-eval's (log-likelihood, is_greedy) of (context, continuation) pairs, one sequence at a time."""
    lm_eval = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=1,
        logits_cache=False,
        max_length=max_length,
        add_bos_token=False,
        softmax_dtype="float32",
        **options,
    )
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i, metadata=("", 0, 1))
        for i, pair in enumerate(pairs)
    ]
    values, greedy = zip(*lm_eval.loglikelihood(requests, disable_tqdm=True), strict=True)
    return np.array(values), np.array(greedy)


def our_scores(model, tokenizer, pairs, max_length=None, **options):
    contexts, continuations = zip(*pairs, strict=True)
    length = resolve_max_length(model.config, tokenizer, max_length)
    return loglikelihood.score(model, tokenize(tokenizer, contexts, continuations, length), **options)


def assert_equal_scores(ours, theirs):
    values, greedy = theirs
    tolerance = 1e-4 + 1e-6 * np.abs(values)
    assert (np.abs(ours.log_likelihood - values) <= tolerance).all(), np.abs(ours.log_likelihood - values).max()
    assert (ours.is_greedy == greedy).all()


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_benchmarks_equal_lm_eval(checkpoint, rows, benchmark):
    pairs = [pair for item in lm_eval_requests(benchmark, rows[benchmark]) for pair in item]
    theirs = lm_eval_scores(*checkpoint, pairs)
    assert np.ptp(theirs[0]) > 1
    assert_equal_scores(our_scores(*checkpoint, pairs), theirs)


EDGE_CASES = [
    ("The cat sat on the", " mat"),
    ("The cat sat on", " the mat"),  # lm-eval's default logits_cache gets one of these two wrong
    ("The cat sat on the", " mat"),
    ("The cat sat on the", " mat and slept"),
    ("The cat sat on the  \n", "mat"),
    ("", " standing alone"),
    ("", "<|endoftext|>after"),
    ("word " * 90, "long context"),
    ("short", " continuation" * 12),
    ("日本", "語 👍"),
]


@pytest.mark.parametrize("max_length", [None, 100, 48])
def test_edge_cases_equal_lm_eval(checkpoint, max_length):
    theirs = lm_eval_scores(*checkpoint, EDGE_CASES, max_length)
    assert_equal_scores(our_scores(*checkpoint, EDGE_CASES, max_length), theirs)


def test_greedy_continuations_are_found(checkpoint):
    model, tokenizer = checkpoint
    fed = tokenizer("Question: what is water?\nAnswer:").input_ids
    for _ in range(2):
        fed.append(int(model(torch.tensor([fed])).logits[0, -1].argmax()))
    other = (fed[-1] + 1) % 1024
    targets = [[fed[-2]], fed[-2:], [other], [fed[-2], other], [other, fed[-1]]]
    requests = pack([(np.array(fed[:-2] + t[:-1]), np.array(t)) for t in targets])
    assert loglikelihood.score(model, requests).is_greedy.tolist() == [True, True, False, False, False]


def test_lowest_token_wins_among_equals(checkpoint):
    model, tokenizer = checkpoint
    requests = tokenize(tokenizer, ["The"] * 2, [" a", " b"], 512)
    model = random_model(model.config)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # all tokens equally probable
    for token, expected in ((0, True), (1, False)):
        requests.tokens[requests.offsets[1:] - 1] = token
        scores = loglikelihood.score(model, requests)
        assert (scores.is_greedy == expected).all()
        np.testing.assert_allclose(scores.log_likelihood, -np.log(1024), rtol=1e-6)


def test_same_bits_every_time_and_any_budget_to_rounding(checkpoint, rows):
    model, tokenizer = checkpoint
    pairs = [pair for row in rows["arc_easy"] for pair in BENCHMARKS["arc_easy"].render(row).requests()]
    first = our_scores(model, tokenizer, pairs)
    assert (first.log_likelihood == our_scores(model, tokenizer, pairs).log_likelihood).all()
    assert first.tokens_run > 0
    for budget in (1, 100, 100_000):
        other = our_scores(model, tokenizer, pairs, token_budget=budget)
        assert_equal_scores(other, (first.log_likelihood, first.is_greedy))


def test_order_of_requests_changes_nothing(checkpoint, rows):
    model, tokenizer = checkpoint
    pairs = [pair for row in rows["piqa"] for pair in BENCHMARKS["piqa"].render(row).requests()]
    forward = our_scores(model, tokenizer, pairs)
    backward = our_scores(model, tokenizer, pairs[::-1])
    assert (forward.log_likelihood == backward.log_likelihood[::-1]).all()


def test_bounded_logits_give_the_same(checkpoint, monkeypatch):
    model, tokenizer = checkpoint
    expected = our_scores(model, tokenizer, EDGE_CASES)
    largest = 0
    log_softmax = torch.log_softmax

    def measured(logits, *args, **options):
        nonlocal largest
        largest = max(largest, logits.numel() * 4)
        return log_softmax(logits, *args, **options)

    limit = 5 * 4 * 1024  # five rows of the vocabulary, fewer than some continuations have
    monkeypatch.setattr(torch, "log_softmax", measured)
    monkeypatch.setitem(loglikelihood.LOGITS_BYTES, "cpu", limit)
    assert_equal_scores(our_scores(model, tokenizer, EDGE_CASES), (expected.log_likelihood, expected.is_greedy))
    assert 0 < largest <= limit


def test_out_of_memory_halves_the_batch(checkpoint, monkeypatch):
    model, tokenizer = checkpoint
    expected = our_scores(model, tokenizer, EDGE_CASES)
    forward, failures = model.forward, 0

    def small_memory(*, input_ids, **options):
        nonlocal failures
        if len(input_ids) > 2:
            failures += 1
            raise torch.OutOfMemoryError("pretended")
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model, "forward", small_memory)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    scores = our_scores(model, tokenizer, EDGE_CASES)
    assert failures > 0
    assert_equal_scores(scores, (expected.log_likelihood, expected.is_greedy))

    def no_memory(**_):
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(model, "forward", no_memory)
    with pytest.raises(ElusiveError, match="out of memory on cpu with a single sequence"):
        our_scores(model, tokenizer, EDGE_CASES)


SEQUENCES = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.lists(st.integers(0, 2), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences=SEQUENCES, budget=st.integers(1, 60), limit=st.integers(1, 20), branching=st.booleans())
def test_plans_cover_every_request_once(sequences, budget, limit, branching):
    requests = pack([(np.array(c + k)[:-1], np.array(k)) for c, k in sequences])
    batches = plan(requests, budget, limit, branching)
    halves = [half for batch in batches for half in (halve(batch) or (batch,))]
    for some in (batches, halves):
        found = {}
        for batch in some:
            starts = np.concatenate([[0], np.cumsum(batch.row_lengths)])
            row = np.repeat(np.arange(len(batch.row_lengths)), batch.row_lengths)
            node = np.arange(len(batch.tokens)) - starts[row]
            for pick, token, request in zip(batch.pick_select, batch.pick_token, batch.pick_request, strict=True):
                i = batch.select[pick]
                ancestors = (row == row[i]) & (node <= node[i]) & (node[i] < batch.ends)
                assert (batch.positions[ancestors] == np.arange(ancestors.sum())).all()
                found.setdefault(int(request), []).append((batch.tokens[ancestors].tolist(), int(token)))
        expected = {i: [((c + k)[: len(c) + t], k[t]) for t in range(len(k))] for i, (c, k) in enumerate(sequences)}
        assert found == expected
    for batch in batches:
        assert len(batch.row_lengths) == 1 or len(batch.row_lengths) * batch.row_lengths.max() <= budget
        assert len(batch.row_lengths) == 1 or len(batch.select) <= limit
        if not branching:
            assert (batch.positions == np.concatenate([np.arange(n) for n in batch.row_lengths])).all()
