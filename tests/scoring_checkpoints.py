"""Small random checkpoints on disk, with a real byte-level BPE tokenizer, for the tests of the scoring stage."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import elusive
from elusive.items.archive import Archive

END = "<|endoftext|>"


def train_tokenizer(archive_path: Path, directory: Path, vocabulary: int = 1024) -> Path:
    """A byte-level BPE tokenizer trained on SciQ's texts, saved in Hugging Face format; returns ``directory``."""
    with Archive(archive_path) as archive:
        rows = archive.rows("sciq/none/validation")
    texts = [f"{row['support']}\nQuestion: {row['question']}\nAnswer: {row['correct_answer']}" for row in rows]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END
    ).save_pretrained(directory)
    return directory


def random_model(config: transformers.PretrainedConfig, seed: int = 0) -> transformers.PreTrainedModel:
    """A model whose weights are wide enough that attention matters: a wrong mask moves log-likelihoods by nats."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.08)
            elif "norm" not in name.lower() and "ln" not in name:
                parameter.normal_(0.0, 0.02)
    return model


def neox_config(**overrides: object) -> transformers.GPTNeoXConfig:
    """A GPT-NeoX of two layers."""
    return transformers.GPTNeoXConfig(
        **{
            "vocab_size": 1024,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 512,
            "bos_token_id": 0,
            "eos_token_id": 0,
            **overrides,
        }
    )


def save_checkpoint(model: transformers.PreTrainedModel, tokenizer: Path, directory: Path) -> Path:
    """Save model and tokenizer together; returns ``directory``."""
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(directory)
    return directory


def spec(**overrides: object) -> str:
    """The JSON of a job on the checkpoint."""
    return json.dumps({"model": "tiny", "checkpoint": "step1", "source": "local", "tokens": 1000, **overrides})


def lm_eval_scores(model, tokenizer, pairs, max_length=None, **options):
    """lm-eval's (log-likelihood, is_greedy) of (context, continuation) pairs, one sequence at a time."""
    lm_eval = HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=1,
        max_length=max_length,
        softmax_dtype="float32",
        **{"logits_cache": False, "add_bos_token": False, **options},
    )
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i, metadata=("", 0, 1))
        for i, pair in enumerate(pairs)
    ]
    values, greedy = zip(*lm_eval.loglikelihood(requests, disable_tqdm=True), strict=True)
    return np.array(values), np.array(greedy)


class Copies:
    """Copies of ``model`` as it was at first, tensors included: those of ``copy.deepcopy``, in a fraction of the time.

    The model is pickled once, without its tensors; a copy is that read again, with tensors that are copied. A model
    that cannot be pickled is copied by ``copy.deepcopy``.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        # Its own, so that whatever happens to the model changes no copy.
        self._model = copy.deepcopy(model)
        self._tensors: list[torch.Tensor] = []
        numbers: dict[int, int] = {}

        class Pickler(pickle.Pickler):
            def persistent_id(_, value: object) -> int | None:
                if not isinstance(value, torch.Tensor):
                    return None
                if id(value) not in numbers:
                    numbers[id(value)] = len(self._tensors)
                    self._tensors.append(value)
                return numbers[id(value)]

        buffer = io.BytesIO()
        try:
            Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(self._model)
        except (pickle.PicklingError, AttributeError, TypeError):  # functions without a name, weak references
            self._pickled = None
        else:
            self._pickled = buffer.getvalue()

    def make(self) -> torch.nn.Module:
        """A copy that has never run."""
        if self._pickled is None:
            return copy.deepcopy(self._model)
        memo: dict[int, object] = {}

        class Unpickler(pickle.Unpickler):
            def persistent_load(_, number: int) -> torch.Tensor:
                return copy.deepcopy(self._tensors[number], memo)

        return Unpickler(io.BytesIO(self._pickled)).load()


def plain_scores(model, requests):
    """Log-likelihoods of requests by a model that has never run before, for every sequence anew."""
    values, copies = [], Copies(model)
    for i in range(len(requests)):
        with torch.no_grad():
            logits = copies.make()(torch.from_numpy(requests.fed(i).astype(np.int64))[None]).logits[0]
        targets = torch.from_numpy(requests.targets(i).astype(np.int64))
        rows = torch.log_softmax(logits[-len(targets) :].double(), dim=-1)
        values.append(float(rows[torch.arange(len(targets)), targets].sum()))
    return np.array(values)


def lm_eval_token_scores(model, tokenizer, requests, max_length):
    """lm-eval's log-likelihoods of the same tokens, one sequence at a time and by a fresh model each time."""
    values, copies = [], Copies(model)
    for i in range(len(requests)):
        lm_eval = HFLM(
            pretrained=copies.make(),
            tokenizer=tokenizer,
            backend="causal",
            batch_size=1,
            max_length=max_length,
            softmax_dtype="float32",
            logits_cache=False,
        )
        fed, targets = requests.fed(i).tolist(), requests.targets(i).tolist()
        context = fed[: len(fed) + 1 - len(targets)]
        ((value, _),) = lm_eval._loglikelihood_tokens([(("", ""), context, targets)], disable_tqdm=True)
        values.append(value)
    return np.array(values)


def start_python(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """A process of its own that runs ``code`` with the package importable."""
    environment = {**os.environ, "PYTHONPATH": str(Path(elusive.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **options)


#: Runs a job with the command line's arguments.
JOB = """
import argparse
from elusive.scoring import command
parser = argparse.ArgumentParser()
command.add_arguments(parser)
command.run(parser.parse_args())
"""
