"""Log-likelihoods against lm-eval 0.4.13 on the same model and requests, and what they may not depend on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.sources import ARCHIVED, archive_rows
from elusive.scoring import loading, loglikelihood, onednn, packed, vocabulary
from elusive.scoring.plan import Limits, halve, plan
from elusive.scoring.tokenize import pack, resolve_max_length, tokenize
from lm_eval_tasks import lm_eval_requests
from scoring_checkpoints import lm_eval_scores, neox_config, random_model, save_checkpoint, train_tokenizer

ITEMS = 12
WAYS = [
    loglikelihood.Way(packed=packed, onednn=onednn, head=head)
    for packed in (False, True)
    for onednn in (False, True)
    for head in (False, True)
]


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
        every = {name: archive_rows(name, archive).rows for name in ARCHIVED}
    return {name: some[:: len(some) // ITEMS][:ITEMS] for name, some in every.items()}


def scorer(model, requests, max_length=512, **options):
    """A scorer of its own copy of the model, since it rearranges it."""
    return loglikelihood.Scorer(copy.deepcopy(model), requests, max_length, **options)


def our_scores(model, tokenizer, pairs, max_length=None, **options):
    contexts, continuations = zip(*pairs, strict=True)
    length = resolve_max_length(model.config, tokenizer, max_length)
    requests = tokenize(tokenizer, contexts, continuations, length)
    return scorer(model, requests, length, **options).score(requests)


def assert_equal_scores(ours, theirs):
    values, greedy = theirs
    tolerance = 1e-4 + 1e-6 * np.abs(values)
    assert (np.abs(ours.log_likelihood - values) <= tolerance).all(), np.abs(ours.log_likelihood - values).max()
    assert (ours.is_greedy == greedy).all()


@pytest.mark.parametrize("benchmark", sorted(ARCHIVED))
def test_benchmarks_equal_lm_eval(checkpoint, rows, benchmark):
    pairs = [pair for item in lm_eval_requests(benchmark, rows[benchmark]) for pair in item]
    theirs = lm_eval_scores(*checkpoint, pairs)
    assert np.ptp(theirs[0]) > 1
    for way in (None, loglikelihood.Way()):
        assert_equal_scores(our_scores(*checkpoint, pairs, way=way), theirs)


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
    for way in WAYS:
        assert_equal_scores(our_scores(*checkpoint, EDGE_CASES, max_length, way=way), theirs)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["", "Q: a b", "Q: a b c d e f\nA:", "Q: a b c d e f\nA: the ", "日本"]),
            st.sampled_from([" a", " ab", " a b", " a", "語", " the end of a long answer to the question"]),
        ),
        min_size=1,
        max_size=10,
    ),
    max_length=st.sampled_from([16, 512]),
    budget=st.sampled_from([1, 30, 1000]),
    way=st.sampled_from(WAYS),
)
def test_any_requests_equal_lm_eval(checkpoint, pairs, max_length, budget, way):
    theirs = lm_eval_scores(*checkpoint, pairs, max_length)
    assert_equal_scores(our_scores(*checkpoint, pairs, max_length, token_budget=budget, way=way), theirs)


def test_lm_eval_s_default_cache_is_no_reference(checkpoint):
    """Why the reference runs with ``logits_cache=False``: two splits of the same text spoil each other.

    None of the nine benchmarks has such a pair, alone or all together, under GPT-NeoX's tokenizer.
    """
    colliding = EDGE_CASES[:2]
    right, _ = lm_eval_scores(*checkpoint, colliding)
    cached, _ = lm_eval_scores(*checkpoint, colliding, logits_cache=True)
    assert np.abs(right - cached).max() > 0.01


@pytest.mark.parametrize("benchmark", sorted(ARCHIVED))
def test_no_token_is_run_that_a_fork_per_item_would_save(checkpoint, rows, benchmark):
    _, tokenizer = checkpoint
    forks, needed, pairs = 0, set(), []
    for row in rows[benchmark]:
        some = BENCHMARKS[benchmark].render(row).requests()
        requests = tokenize(tokenizer, [c for c, _ in some], [k for _, k in some], 512)
        inputs = {tuple(requests.fed(i).tolist()) for i in range(len(requests))}
        for i in range(len(requests)):
            fed = requests.fed(i).tolist()
            needed |= {tuple(fed[: len(fed) - k]) for k in range(requests.num_targets[i])}
        shared = next((i for i, tokens in enumerate(zip(*inputs, strict=False)) if len(set(tokens)) > 1), None)
        shared = min(map(len, inputs)) if shared is None else shared
        forks += shared + sum(len(x) - shared for x in inputs)
        pairs += some
    requests = tokenize(tokenizer, [c for c, _ in pairs], [k for _, k in pairs], 512)
    batches = plan(requests, Limits(tokens=1024, branching=True, pairs_per_token=1 << 20))
    prefixes = {batch.prefix.tobytes(): len(batch.prefix) for batch in batches}
    assert sum(len(batch.tokens) for batch in batches) + sum(prefixes.values()) <= forks
    read = sum(len(batch.select) for batch in batches)
    assert len(needed) <= read <= 1.05 * len(needed)


def test_greedy_continuations_are_found(checkpoint):
    model, tokenizer = checkpoint
    fed = tokenizer("Question: what is water?\nAnswer:").input_ids
    for _ in range(2):
        fed.append(int(model(torch.tensor([fed])).logits[0, -1].argmax()))
    other = (fed[-1] + 1) % 1024
    targets = [[fed[-2]], fed[-2:], [other], [fed[-2], other], [other, fed[-1]]]
    requests = pack([(np.array(fed[:-2] + t[:-1]), np.array(t)) for t in targets])
    for way in WAYS:
        scores = scorer(model, requests, way=way).score(requests)
        assert scores.is_greedy.tolist() == [True, True, False, False, False]


def test_lowest_token_wins_among_equals(checkpoint, monkeypatch):
    model, tokenizer = checkpoint
    requests = tokenize(tokenizer, ["The"] * 2, [" a", " b"], 512)
    model = random_model(model.config)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # all tokens equally probable
    monkeypatch.setattr(vocabulary, "CPU_BLOCK", (512, 100))  # so that equals lie in one block and in different ones
    for token, expected in ((0, True), (1, False), (777, False)):
        requests.tokens[requests.offsets[1:] - 1] = token
        for way in WAYS:
            scores = scorer(model, requests, way=way).score(requests)
            assert (scores.is_greedy == expected).all()
            np.testing.assert_allclose(scores.log_likelihood, -np.log(1024), rtol=1e-6)


def test_same_bits_every_time_and_any_budget_to_rounding(checkpoint, rows):
    model, tokenizer = checkpoint
    pairs = [pair for row in rows["arc_easy"] for pair in BENCHMARKS["arc_easy"].render(row).requests()]
    first = our_scores(model, tokenizer, pairs)
    assert (first.log_likelihood == our_scores(model, tokenizer, pairs).log_likelihood).all()
    assert first.tokens_run > 0
    for budget in (1, 100, 100_000):
        for way in WAYS:
            other = our_scores(model, tokenizer, pairs, token_budget=budget, way=way)
            assert_equal_scores(other, (first.log_likelihood, first.is_greedy))


def test_order_of_requests_changes_nothing(checkpoint, rows):
    model, tokenizer = checkpoint
    pairs = [pair for row in rows["piqa"] for pair in BENCHMARKS["piqa"].render(row).requests()]
    forward = our_scores(model, tokenizer, pairs)
    backward = our_scores(model, tokenizer, pairs[::-1])
    assert (forward.log_likelihood == backward.log_likelihood[::-1]).all()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_bounded_logits_give_the_same(checkpoint, monkeypatch, way):
    model, tokenizer = checkpoint
    expected = our_scores(model, tokenizer, EDGE_CASES)
    largest = 0
    log_softmax = torch.log_softmax

    def measured(logits, *args, **options):
        nonlocal largest
        largest = max(largest, logits.numel())
        return log_softmax(logits, *args, **options)

    limit = 5 * 1024  # five rows of the vocabulary, fewer than some continuations have
    monkeypatch.setattr(torch, "log_softmax", measured)
    monkeypatch.setattr(loglikelihood, "CPU_LOGITS_BYTES", limit * 4)
    monkeypatch.setattr(vocabulary, "CPU_BLOCK", (3, 300))
    assert_equal_scores(
        our_scores(model, tokenizer, EDGE_CASES, way=way), (expected.log_likelihood, expected.is_greedy)
    )
    assert 0 < largest <= (900 if way.head else limit)


def test_logits_stay_within_32_megabytes():
    assert loglikelihood.CPU_LOGITS_BYTES <= 32 << 20
    assert vocabulary.CPU_BLOCK[0] * vocabulary.CPU_BLOCK[1] * 4 <= 32 << 20


@pytest.mark.parametrize("way", [loglikelihood.Way(), loglikelihood.Way(packed=True, head=True)], ids=str)
def test_out_of_memory_halves_the_batch(checkpoint, monkeypatch, way):
    model, tokenizer = checkpoint
    expected = our_scores(model, tokenizer, EDGE_CASES)
    forward, failures = type(model.base_model).forward, 0

    def small_memory(self, input_ids=None, **options):
        nonlocal failures
        if input_ids.numel() > 250:
            failures += 1
            raise torch.OutOfMemoryError("pretended")
        return forward(self, input_ids=input_ids, **options)

    def no_memory(*_, **__):
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(type(model.base_model), "forward", small_memory)
    scores = our_scores(model, tokenizer, EDGE_CASES, way=way, token_budget=2000)
    assert failures > 0
    assert_equal_scores(scores, (expected.log_likelihood, expected.is_greedy))
    monkeypatch.setattr(type(model.base_model), "forward", no_memory)
    with pytest.raises(ElusiveError, match="out of memory on cpu with a single sequence"):
        our_scores(model, tokenizer, EDGE_CASES, way=way)


def test_budget_follows_free_memory():
    budgets = [loglikelihood.budget_for(gib << 30, 4096, 2) for gib in (0, 8, 16, 40, 1000)]
    assert budgets == sorted(budgets)
    assert budgets[0] == 2048
    assert budgets[-1] == 65536
    assert loglikelihood.budget_for(16 << 30, 4096, 4) < budgets[2]


EXAMPLES = "\n\n".join(f"Question: what is number {n}?\nAnswer: it is {n} of 5" for n in range(5))
FEW_SHOT = [
    (f"{EXAMPLES}\n\nQuestion {number}:{(number % 40) * ' so'}{(40 - number % 40) * ' or'}?\nAnswer:", answer)
    for number in range(80)
    for answer in (" yes", " no", " maybe so")
]


def test_shared_prefixes_run_once(checkpoint):
    model, tokenizer = checkpoint
    prefix = len(tokenizer(EXAMPLES).input_ids)
    ours = our_scores(model, tokenizer, FEW_SHOT, way=loglikelihood.Way(packed=True, head=True), token_budget=512)
    assert_equal_scores(ours, lm_eval_scores(model, tokenizer, FEW_SHOT))
    assert prefix > 60
    apart = sum(len(tokenizer(context).input_ids) - prefix for context in {context for context, _ in FEW_SHOT})
    assert ours.tokens_run < apart + 80 * 8 + 2 * prefix


def test_out_of_memory_in_a_prefix_does_not_lose_it(checkpoint, monkeypatch):
    model, tokenizer = checkpoint
    forward, failures = type(model.base_model).forward, 0

    def fails_once(self, input_ids=None, **options):
        nonlocal failures
        if options["elusive_layout"].keep and not failures:
            failures += 1
            raise torch.OutOfMemoryError("pretended")
        return forward(self, input_ids=input_ids, **options)

    expected = lm_eval_scores(model, tokenizer, FEW_SHOT)
    monkeypatch.setattr(type(model.base_model), "forward", fails_once)
    ours = our_scores(model, tokenizer, FEW_SHOT, way=loglikelihood.Way(packed=True, head=True), token_budget=512)
    assert failures == 1
    assert_equal_scores(ours, expected)


def test_a_wrong_way_is_found_out(checkpoint, rows, monkeypatch):
    model, tokenizer = checkpoint
    pairs = [pair for row in rows["arc_easy"] for pair in BENCHMARKS["arc_easy"].render(row).requests()]
    contexts, continuations = zip(*pairs, strict=True)
    requests = tokenize(tokenizer, contexts, continuations, 512)
    expected = scorer(model, requests, way=loglikelihood.Way()).score(requests)
    layout = packed.layout

    def blind(row_lengths, ends, *args, **options):
        """A mask under which the choices of an item see each other."""
        return layout(row_lengths, np.full_like(ends, row_lengths.max()), *args, **options)

    monkeypatch.setattr(packed, "layout", blind)
    monkeypatch.setattr(onednn, "available", lambda: False)
    careful = scorer(model, requests)
    assert careful.path == "plain+head"
    assert_equal_scores(careful.score(requests), (expected.log_likelihood, expected.is_greedy))


SEQUENCES = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.lists(st.integers(0, 2), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sequences=SEQUENCES,
    budget=st.integers(1, 60),
    limit=st.integers(1, 20),
    branching=st.booleans(),
    pairs_per_token=st.sampled_from([1, 10, 256]),
    group_cost=st.sampled_from([0, 3, 512]),
    longest=st.sampled_from([1, 9, 1 << 62]),
)
def test_plans_cover_every_request_once(sequences, budget, limit, branching, pairs_per_token, group_cost, longest):
    requests = pack([(np.array(c + k)[:-1], np.array(k)) for c, k in sequences])
    batches = plan(requests, Limits(budget, limit, branching, pairs_per_token, group_cost, longest))
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
                fed = [*batch.prefix.tolist(), *batch.tokens[ancestors].tolist()]
                assert (batch.positions[ancestors] == np.arange(len(batch.prefix), len(fed))).all()
                found.setdefault(int(request), []).append((fed, int(token)))
        expected = {i: [((c + k)[: len(c) + t], k[t]) for t in range(len(k))] for i, (c, k) in enumerate(sequences)}
        assert found == expected
    for batch in batches:
        assert len(batch.row_lengths) == 1 or len(batch.row_lengths) * batch.row_lengths.max() <= budget
        assert len(batch.row_lengths) == 1 or len(batch.select) <= limit
        if branching:
            assert batch.row_lengths.max() <= max(longest, max(len(c + k) - 1 for c, k in sequences))
        else:
            assert (batch.positions == np.concatenate([np.arange(n) for n in batch.row_lengths])).all()
