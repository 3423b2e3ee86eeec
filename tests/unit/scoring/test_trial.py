"""How a way of running the model is chosen: what it is held against, where it is tried, and what if none holds."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_outputs import CausalLMOutput

from elusive.errors import ElusiveError
from elusive.scoring import lengths, loglikelihood, precision
from elusive.scoring.loglikelihood import SINGLE, Scorer, Way, tolerance_of
from elusive.scoring.plan import Limits, plan
from elusive.scoring.reference import OutOfMemory, Reference
from elusive.scoring.tokenize import pack
from scoring_checkpoints import lm_eval_token_scores, plain_scores, random_model, train_tokenizer
from small_models import small_model

SMALL = {
    "vocab_size": 256,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
PHI = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "rope_theta": 10000.0}


def phi3():
    """A Phi-3 whose positions beyond 32 tokens are encoded otherwise from the first token on."""
    parameters = PHI | {"original_max_position_embeddings": 32}
    return random_model(
        transformers.Phi3Config(**SMALL, original_max_position_embeddings=32, rope_parameters=parameters)
    )


def dynamic_llama():
    """A Llama of 32 positions that stretches them over as many tokens as it is given."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    return random_model(transformers.LlamaConfig(**(SMALL | {"max_position_embeddings": 32}), rope_parameters=rope))


def deepseek():
    """A DeepSeek-V3.2 whose queries attend to 16 tokens that it selects."""
    return small_model("deepseek_v32", vocab_size=256, index_topk=16)


def requests_of(sizes, seed=0, vocabulary=256):
    """Requests of ``sizes`` tokens fed, each with two continuations of up to four tokens."""
    generator = np.random.default_rng(seed)
    pairs = []
    for size in sizes:
        context = generator.integers(1, vocabulary, size).tolist()
        for count in (1, min(4, size)):
            tokens = context[: size + 1 - count] + generator.integers(1, vocabulary, count).tolist()
            pairs.append((np.array(tokens[:-1]), np.array(tokens[-count:])))
    return pack(pairs)


def assert_right(scores, expected):
    assert (np.abs(scores.log_likelihood - expected) <= tolerance_of(expected)).all(), scores.path


LONG = [3, 9, 14, 15, 16, 17, 30, 31, 32, 33, 34, 40, 40, 40, 60, 60, 90, 110]


@pytest.mark.parametrize("make", [phi3, dynamic_llama, deepseek], ids=lambda make: make.__name__)
def test_positions_by_length_never_meet_another_length(make):
    model = make()
    requests = requests_of(LONG)
    expected = plain_scores(model, requests)
    # What a padded batch makes of them is far off.
    padded = Scorer(copy.deepcopy(model), requests, 128, 5000, way=Way()).score(requests)
    assert np.abs(padded.log_likelihood - expected).max() > 0.1
    scorer = Scorer(model, requests, 128)
    scores = scorer.score(requests)
    assert "one_length" in scores.path
    assert scores.warnings == ()
    assert_right(scores, expected)
    assert_right(scorer.score(requests.take(range(len(requests))[::-1])), expected[::-1])


@pytest.mark.parametrize("make", [phi3, dynamic_llama, deepseek], ids=lambda make: make.__name__)
def test_they_are_lm_eval_s_of_single_sequences(archive_path, tmp_path, make):
    tokenizer = transformers.AutoTokenizer.from_pretrained(train_tokenizer(archive_path, tmp_path, vocabulary=512))
    model, requests = make(), requests_of(LONG)
    expected = lm_eval_token_scores(model, tokenizer, requests, 128)
    assert_right(Scorer(model, requests, 128).score(requests), expected)


@pytest.mark.parametrize("make", [phi3, dynamic_llama], ids=lambda make: make.__name__)
def test_so_from_the_start_whatever_the_trial_saw(make):
    """Recognised by the configuration: a trial of short sequences, or of a single one, has nothing to show."""
    model, requests = make(), requests_of(LONG)
    expected = plain_scores(model, requests)
    for sample in (requests_of([5, 6, 7]), requests_of([4])):
        scorer = Scorer(copy.deepcopy(model), sample, 128)
        assert "one_length" in scorer.path
        assert_right(scorer.score(requests), expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (transformers.MistralConfig(sliding_window=20, max_position_embeddings=300), [20, 300]),
        (transformers.LlamaConfig(max_position_embeddings=77), [77]),
        (transformers.GPT2Config(n_positions=12), [12]),
        (
            transformers.Phi3Config(
                original_max_position_embeddings=40, max_position_embeddings=90, rope_parameters={"rope_theta": 1e4}
            ),
            [40, 90],
        ),
        (
            {"attention": {"local_window": [7, 9, None]}, "n_layers": 3, "use_window": True, "index_topk": 64},
            [7, 9, 64],
        ),
    ],
)
def test_lengths_that_a_configuration_names(config, expected):
    found = lengths.named(config if not isinstance(config, dict) else type("Own", (), {"to_dict": lambda _: config})())
    assert set(expected) <= set(found)
    assert 3 not in found


def test_requests_stand_on_both_sides_of_every_length():
    requests = requests_of([5, 50, 20])
    around = lengths.around(requests, [2, 16, 49, 50, 64])
    sizes = (np.diff(around.offsets) - 1).tolist()
    assert sizes == [2, 3, 16, 17, 49] or sizes == [2, 3, 16, 17, 49, 50]
    whole = requests.fed(2)
    assert all((around.fed(i) == whole[-size:]).all() for i, size in enumerate(sizes))


def test_of_one_length_are_different_sequences():
    requests = requests_of([5, 50, 20, 20, 60, 70])
    alike = lengths.alike(requests)
    sizes = np.diff(alike.offsets) - 1
    assert len(alike) == 6 and len(set(sizes[:3])) == 1 and len(set(sizes[3:])) == 1
    assert len({alike.fed(i).tobytes() for i in range(3)}) == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 60))
def test_batches_of_one_length(sizes, budget):
    requests = requests_of(sizes)
    batches = plan(requests, Limits(tokens=budget, one_length=True, branching=True))
    for batch in batches:
        assert len(set(batch.row_lengths.tolist())) == 1
        assert len(batch.prefix) == 0
        assert (batch.positions == np.concatenate([np.arange(n) for n in batch.row_lengths])).all()
    found = sorted(np.concatenate([np.unique(batch.pick_request) for batch in batches]).tolist())
    assert found == list(range(len(requests)))


class Own(transformers.PreTrainedModel):
    """Half a model of its own: states decay, so that a token depends on all before it."""

    config_class = transformers.LlamaConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, 32)
        self.head = torch.nn.Linear(32, config.vocab_size, bias=False)
        self.seen = 0

    def get_input_embeddings(self):
        return self.embed

    def states(self, input_ids):
        state, states = 0, []
        for x in self.embed(input_ids).unbind(1):
            state = 0.8 * state + x
            states.append(state)
        return torch.tanh(torch.stack(states, 1))


class Swallows(Own):
    def forward(self, input_ids, **kwargs):
        return CausalLMOutput(logits=self.head(self.states(input_ids)))


class Plain(Own):
    def forward(self, input_ids):
        return CausalLMOutput(logits=self.head(self.states(input_ids)))


class Changes(Own):
    """Beyond 24 tokens every position is another one, which only a name in its configuration tells."""

    def forward(self, input_ids):
        factor = 3 if input_ids.shape[1] > 24 else 1
        return CausalLMOutput(logits=factor * self.head(self.states(input_ids)))


class MeetsOthers(Own):
    """Rows of a batch see each other, as where experts take a limited number of tokens."""

    def forward(self, input_ids):
        states = self.states(input_ids)
        return CausalLMOutput(logits=self.head(states + 0.1 * (states.sum(0) - states)))


class LooksAhead(Own):
    def forward(self, input_ids):
        states = self.states(input_ids)
        return CausalLMOutput(logits=self.head(states + 0.5 * torch.roll(states, -1, 1)))


class Random(Own):
    def forward(self, input_ids):
        return CausalLMOutput(logits=self.head(torch.nn.functional.dropout(self.states(input_ids), 0.1)))


class Remembers(Own):
    def forward(self, input_ids):
        self.seen = max(self.seen, input_ids.shape[1])
        return CausalLMOutput(logits=self.head(self.states(input_ids)) * (1 + 0.1 * self.seen))


class LastOnly(Own):
    def forward(self, input_ids):
        return CausalLMOutput(logits=self.head(self.states(input_ids)[:, -1:]))


class Fails(Own):
    def forward(self, input_ids):
        raise KeyError("nothing")


class Ends(Own):
    def forward(self, input_ids):
        raise SystemExit(0)


def own(kind, **more):
    torch.manual_seed(0)
    return kind(transformers.LlamaConfig(**SMALL, **more)).eval()


@pytest.mark.parametrize("kind", [Swallows, Plain])
def test_models_that_ignore_what_they_are_asked_for(kind):
    """``logits_to_keep`` passes unseen through the one, and is a TypeError of the other."""
    model, requests = own(kind), requests_of(LONG)
    expected = plain_scores(model, requests)
    scores = Scorer(model, requests, 128).score(requests)
    assert "whole" in scores.path
    assert_right(scores, expected)


def test_xlstm_ignores_it_too():
    model = small_model("xlstm", vocab_size=256)
    requests = requests_of(LONG)
    expected = plain_scores(model, requests)
    scores = Scorer(model, requests, 128).score(requests)
    assert "whole" in scores.path
    assert_right(scores, expected)


def test_whole_logits_stay_within_their_memory(monkeypatch):
    model, requests = own(Plain), requests_of([12] * 9)
    expected = plain_scores(model, requests)
    monkeypatch.setattr(loglikelihood, "CPU_LOGITS_BYTES", 4 * 256 * 30)  # two rows of 12 tokens
    sizes = []
    forward = Plain.forward
    monkeypatch.setattr(
        Plain, "forward", lambda self, input_ids: sizes.append(input_ids.numel()) or forward(self, input_ids)
    )
    scorer = Scorer(model, requests, 128, way=Way(whole=True))
    assert_right(scorer.score(requests), expected)
    assert max(sizes) == 24


def test_where_no_way_holds_single_sequences_do_and_it_is_said(caplog):
    model, requests = own(MeetsOthers), requests_of(LONG)
    expected = plain_scores(model, requests)
    with caplog.at_level(logging.INFO, "elusive"):
        scorer = Scorer(model, requests, 128)
    assert scorer.path == "single"
    assert SINGLE in caplog.text
    seen = []
    scores = scorer.score(requests, lambda settled, tokens: seen.extend(settled.tolist()))
    assert_right(scores, expected)
    assert (scores.path, scores.warnings) == ("single", (SINGLE,))
    assert sorted(seen) == list(range(len(requests)))
    assert (scores.log_likelihood == scorer.score(requests).log_likelihood).all()


def test_a_length_beyond_the_trial_s_is_tried_when_it_is_reached(caplog):
    model = own(Changes, context_window=24)
    short, longer = requests_of([4, 9, 15, 20]), requests_of([5, 24, 25, 26, 40, 60])
    expected = plain_scores(model, short), plain_scores(model, longer)
    scorer = Scorer(model, short, 128)
    assert scorer.path == "plain+onednn+whole" or scorer.path == "plain+whole"
    with caplog.at_level(logging.INFO, "elusive"):
        scores = scorer.score(longer)
    assert_right(scores, expected[1])
    assert (scores.path, scores.warnings) == ("single", (SINGLE,))
    assert "does not agree with single sequences of more than" in caplog.text
    # What stays below is run as before.
    scores = scorer.score(short)
    assert_right(scores, expected[0])
    assert scores.warnings == () and scores.path == scorer.path
    # Where the trial has seen it, a way is found that holds.
    scorer = Scorer(model, longer, 128)
    assert "one_length" in scorer.path
    assert_right(scorer.score(longer), expected[1])


def test_a_length_beyond_the_trial_s_that_changes_nothing():
    model = random_model(transformers.LlamaConfig(**SMALL, some_window=24))
    short, longer = requests_of([4, 9, 15, 20]), requests_of([5, 24, 25, 26, 40, 60])
    expected = plain_scores(model, longer)
    scorer = Scorer(model, short, 128)
    scores = scorer.score(longer)
    assert scores.path == scorer.path and scores.path.startswith("packed")
    assert_right(scores, expected)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: own(LooksAhead), "earlier tokens move by up to .* nats when later tokens of a sequence of .* change"),
        (lambda: small_model("bert", vocab_size=256, is_decoder=False), "is_decoder: false, under which every token"),
        (lambda: own(Random), "the same sequence is another one each time, by up to .* nats"),
        (lambda: own(Remembers), "the same sequence is another one each time, by up to .* nats"),
        (lambda: own(LastOnly), r"returns logits \(1, 1, 256\), not \(1, \d+, vocabulary\)"),
        (lambda: own(Fails), r"Fails cannot be run on a sequence of 1 tokens: KeyError: 'nothing'"),
        (lambda: own(Ends), r"Ends cannot be run on a sequence of 1 tokens: SystemExit: 0"),
    ],
    ids=["looks ahead", "bert", "random", "remembers", "last only", "fails", "ends"],
)
@pytest.mark.parametrize("half", [False, True])
def test_what_nothing_makes_right_is_refused(make, said, half):
    model = make().bfloat16() if half else make()
    with pytest.raises(ElusiveError, match=said):
        Scorer(model, requests_of(LONG), 128)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_causality_is_seen_in_the_shortest_sequences(size):
    leak = Reference(own(LooksAhead)).leak(np.arange(3, 3 + size))
    assert (size > 1) == (leak.max(initial=0) > 1e-3)
    assert Reference(own(Plain)).leak(np.full(size, 7)).max(initial=0) == 0


def test_bert_as_a_decoder_is_right():
    model = small_model("bert", vocab_size=256, is_decoder=True)
    requests = requests_of(LONG)
    expected = plain_scores(model, requests)
    scores = Scorer(model, requests, 128).score(requests)
    assert scores.warnings == ()
    assert_right(scores, expected)


def test_causality_without_memory_for_float32(monkeypatch):
    monkeypatch.setattr(precision.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1 << 20}))
    with pytest.raises(ElusiveError, match="earlier tokens move by up to"):
        Scorer(own(LooksAhead).bfloat16(), requests_of(LONG), 128)
    model, requests = own(MeetsOthers).bfloat16(), requests_of(LONG)
    scorer = Scorer(model, requests, 128)
    assert scorer.path == "single"
    np.testing.assert_allclose(scorer.score(requests).log_likelihood, plain_scores(model, requests), atol=1e-4)


def test_half_precision_of_positions_by_length():
    model, requests = phi3().bfloat16(), requests_of(LONG)
    expected = plain_scores(model, requests)
    scores = Scorer(model, requests, 128).score(requests)
    assert "one_length" in scores.path
    assert precision.noise(scores.log_likelihood - expected, requests.num_targets) < 0.1


def test_the_reference_s_own_sums():
    """Greedy flags and sums of the single sequences, against whole float64 rows."""
    model, requests = own(Plain), requests_of(LONG)
    values, greedy = Reference(model).score(requests)
    np.testing.assert_allclose(values, plain_scores(model, requests), atol=1e-4)
    for i in range(len(requests)):
        logits = model(torch.from_numpy(requests.fed(i).astype(np.int64))[None]).logits[0]
        best = logits[-len(requests.targets(i)) :].argmax(-1).numpy()
        assert greedy[i] == (best == requests.targets(i)).all()


def test_tokens_that_the_model_does_not_have_stay_out_of_the_trial():
    model = random_model(transformers.LlamaConfig(**SMALL))
    fine, beyond = requests_of([4, 9, 15]), requests_of([5, 6], vocabulary=100_000)
    scorer = Scorer(model, fine + beyond, 128)
    assert scorer.path.startswith("packed")
    assert (scorer.num_embeddings, scorer.vocabulary) == (256, 256)
    assert Scorer(model, beyond, 128).path == "single"


def test_a_sequence_too_long_for_all_its_logits_is_left_out_of_the_trial(monkeypatch, caplog):
    """What is read of it may fit all the same; only a length that changes something has to be confirmed."""
    model, requests = random_model(transformers.LlamaConfig(**SMALL)), requests_of([5, 9, 20, 60, 90])
    expected = plain_scores(model, requests)
    run = Reference._run

    def small(self, fed):
        if len(fed) > 50:
            raise OutOfMemory(f"out of memory with {len(fed)} tokens")
        return run(self, fed)

    monkeypatch.setattr(Reference, "_run", small)
    with caplog.at_level(logging.INFO, "elusive"):
        scorer = Scorer(model, requests, 128)
    assert "compared on shorter ones" in caplog.text
    assert scorer.path.startswith("packed")
    assert_right(scorer.score(requests), expected)
    with pytest.raises(OutOfMemory):
        Scorer(random_model(transformers.LlamaConfig(**SMALL)), requests_of([60]), 128)
    window = random_model(transformers.LlamaConfig(**SMALL, some_window=55))
    with pytest.raises(OutOfMemory):
        Scorer(window, requests, 128).score(requests)
