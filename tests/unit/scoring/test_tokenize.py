"""Tokens by lm-eval's rule, against lm-eval's own code."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM
from tokenizers import processors

from elusive.errors import ElusiveError
from elusive.scoring.tokenize import Requests, pack, resolve_max_length, tokenize
from scoring_checkpoints import END, neox_config, random_model, train_tokenizer

# Texts whose merges cross boundaries, with whitespace of several kinds, other scripts, and the end-of-text token.
PIECES = ["the", "th", "e", " ", "  ", "\n", "\t", " a", "ß", "日本", "é", "\u00a0", "👍", "Answer:", "1", ".", END]
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20)


@pytest.fixture(scope="module")
def tokenizer_directory(archive_path, tmp_path_factory):
    return train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def lm_evals(tokenizer_directory):
    """lm-eval and the tokenizer with each setting of add_bos_token, for a tokenizer that knows how to add BOS."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_directory)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, tokenizer.bos_token_id)]
    )
    model = random_model(neox_config(num_hidden_layers=1))
    return {
        add: HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, add_bos_token=add, logits_cache=False)
        for add in (False, True, None)
    }


def lm_eval_tokens(lm_eval: HFLM, pairs: list[tuple[str, str]], max_length: int) -> list[tuple[list, list]]:
    """What lm-eval's ``loglikelihood`` hands to its model for each pair: (tokens fed, targets)."""
    seen = []
    lm_eval._loglikelihood_tokens = lambda requests, **_: seen.extend(requests)
    try:
        lm_eval.loglikelihood([SimpleNamespace(args=pair) for pair in pairs], disable_tqdm=True)
    finally:
        del lm_eval._loglikelihood_tokens
    return [((c + k)[-(max_length + 1) :][:-1], k) for _, c, k in seen]


def unpacked(requests: Requests) -> list[tuple[list, list]]:
    return [(requests.fed(i).tolist(), requests.targets(i).tolist()) for i in range(len(requests))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    context=TEXT,
    continuation=TEXT,
    add_bos=st.sampled_from([False, True, None]),
    max_length=st.sampled_from([16, 512]),
)
def test_equals_lm_eval(lm_evals, context, continuation, add_bos, max_length):
    lm_eval = lm_evals[add_bos]
    try:
        expected = lm_eval_tokens(lm_eval, [(context, continuation)], max_length)
    except IndexError:  # lm-eval's answer to a continuation of no tokens behind an empty context
        expected = [([], [])]
    ((fed, targets),) = expected
    if context and not context.strip():
        return  # lm-eval stops at contexts of whitespace alone, see below
    if not targets or len(targets) > max_length:
        with pytest.raises(ElusiveError, match="the item"):
            tokenize(lm_eval.tokenizer, [context], [continuation], max_length, add_bos, ["the item"])
    else:
        requests = tokenize(lm_eval.tokenizer, [context], [continuation], max_length, add_bos)
        assert unpacked(requests) == [(fed, targets)]


@pytest.mark.parametrize("add_bos", [False, True, None])
def test_many_at_once_equal_lm_eval_one_by_one(lm_evals, add_bos):
    pairs = [
        ("The cat sat on the", " mat"),
        ("The cat sat on the ", "mat"),
        ("The cat sat on", " the mat"),
        ("The cat sat on the", " mat"),  # identical
        ("The cat sat on the", " mats and more"),  # the other is its prefix
        ("", " standing alone"),
        ("", f"{END}after the prefix token"),
        (f"{END}The cat", " sat"),
        ("Answer:\n\n", "A"),
        ("日本", "語 👍"),
        ("th", "e"),  # the merge crosses the boundary
    ]
    tokenizer = lm_evals[add_bos].tokenizer
    requests = tokenize(tokenizer, [c for c, _ in pairs], [k for _, k in pairs], 512, add_bos)
    assert unpacked(requests) == lm_eval_tokens(lm_evals[add_bos], pairs, 512)
    assert unpacked(requests.take([3, 0])) == [unpacked(requests)[3], unpacked(requests)[0]]


def test_whitespace_alone_follows_the_prefix_token(lm_evals):
    tokenizer = lm_evals[False].tokenizer
    fed, targets = unpacked(tokenize(tokenizer, [" \n"], ["the end"], 512))[0]
    assert [*fed, targets[-1]] == [tokenizer.bos_token_id, *targets]
    assert tokenizer.decode(targets) == " \nthe end"


def test_errors_name_the_item(lm_evals):
    tokenizer = lm_evals[False].tokenizer
    with pytest.raises(ElusiveError, match="item 'x', choice 2: the continuation '' has no token"):
        tokenize(tokenizer, ["Q"], [""], 512, names=["item 'x', choice 2"])
    with pytest.raises(ElusiveError, match="item 'x', choice 2: the continuation has 17 tokens"):
        tokenize(tokenizer, ["Q"], [" 1" * 17], 16, names=["item 'x', choice 2"])


@pytest.mark.parametrize("template", [f"$A {END}", f"{END} $A {END}"])
def test_a_tokenizer_that_ends_every_text_is_refused(tokenizer_directory, template):
    """Choices of one token would all have the log-likelihood of the end of a text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_directory)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(END, tokenizer.bos_token_id)]
    )
    pairs = ["Answer:", "Answer:"], [" a", " e"]
    with pytest.raises(ElusiveError, match=r"puts '<\|endoftext\|>' behind every text.*set add_bos_token"):
        tokenize(tokenizer, *pairs, 64, None)
    first, second = (requests for requests in unpacked(tokenize(tokenizer, *pairs, 64, False)))
    assert first[1] != second[1] and tokenizer.eos_token_id not in first[1] + second[1]
    # Behind an empty context no special token of the tokenizer's comes.
    assert len(tokenize(tokenizer, [""], [" a"], 64, None)) == 1


def test_empty_context_needs_a_prefix_token(tokenizer_directory):
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_directory)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(ElusiveError, match="neither a BOS nor an EOS"):
        tokenize(tokenizer, [""], [" a"], 512)


@pytest.mark.parametrize(
    ("config", "limit", "expected"),
    [
        ({"n_positions": 7, "n_ctx": 9}, 100, 7),
        ({"max_position_embeddings": 8, "n_ctx": 9}, 100, 8),
        ({"n_ctx": 9}, 100, 9),
        ({}, 100, 100),
        ({}, int(1e30), 2048),
    ],
)
def test_max_length(config, limit, expected):
    config, tokenizer = SimpleNamespace(**config), SimpleNamespace(model_max_length=limit)
    assert resolve_max_length(config, tokenizer) == expected
    assert resolve_max_length(config, tokenizer, 5) == 5


def test_pack_nothing():
    assert len(pack([])) == 0
    assert pack([(np.array([1, 2]), np.array([2, 3]))]).tokens.tolist() == [1, 2, 3]
