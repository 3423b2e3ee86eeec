"""Training of one ladder model: GPT-NeoX in Hugging Face format, with checkpoints along the way.

Matrices are updated by Muon (Jordan et al. 2024, orthogonalised momentum), everything else by AdamW, at a constant
learning rate after a short warm-up. What a checkpoint holds is the polynomial average of the weights so far (Shamir
& Zhang 2013, gamma = 8), which stands in for annealing: every checkpoint is a finished model of its own budget, so
that all points of one run lie on the same scaling curve, without a training run for each.

Training is deterministic: one seed, one thread, a fixed order of the data. A run that was interrupted goes on from
its last checkpoint and gives the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar

from elusive import imports, logs
from elusive.configuration.models import flops, ladder_parameters
from elusive.errors import ElusiveError
from elusive.files import atomic_path, sha256_files
from elusive.ladder import attention
from elusive.ladder.loss import linear_cross_entropy
from elusive.ladder.muon import Muon

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM

logger = logs.get(__name__)

#: Narrower heads learn later to look back.
HEAD_SIZE = 32
MAX_LENGTH = 1024
WARM_UP_STEPS = 32
AVERAGING_POWER = 8
EMBEDDING_LEARNING_RATE = 0.012
EMBEDDING_STD = 0.05
VALIDATION_WINDOWS = 64
#: From this width on it pays to round products to bfloat16, where a processor has such ones.
ROUNDED_WIDTH = 64
TRAINING_VERSION = 4


def heads_of(width: int) -> int:
    """The most heads of one even size, at least :data:`HEAD_SIZE`; even, since rotary embeddings turn pairs."""
    return next(n for n in range(max(width // HEAD_SIZE, 1), 0, -1) if width % (2 * n) == 0)


def build_model(vocabulary: int, width: int, layers: int, seed: int) -> GPTNeoXForCausalLM:
    """A freshly initialised model; its number of parameters is :func:`ladder_parameters`."""
    with imports.lean():
        from transformers import AttentionInterface, GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(seed)
    AttentionInterface.register(attention.NAME, attention.attend)
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads_of(width),
        intermediate_size=4 * width,
        max_position_embeddings=MAX_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=attention.NAME,
    )
    model = GPTNeoXForCausalLM(config)
    # Tied embeddings of the usual 0.02 are too small for a copied token to stand out among the logits.
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=EMBEDDING_STD)
    return model


class Windows:
    """Training sequences: windows of ``context`` + 1 tokens, each next to be predicted.

    The first epoch takes them in the order of the text, which begins with what is easy; later ones in seeded orders.
    """

    def __init__(self, tokens: np.ndarray, context: int, seed: int) -> None:
        self._tokens = torch.from_numpy(tokens.astype(np.int64))
        self._context = context
        self._count = (len(tokens) - 1) // context
        self._seed = seed
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int, size: int) -> torch.Tensor:
        """Token ids [size, context + 1] of training step ``step`` (from 0)."""
        return torch.stack([self._window(step * size + i) for i in range(size)])

    def first(self, count: int) -> torch.Tensor:
        """Token ids [count, context + 1] of the first windows (fewer if there are not as many)."""
        starts = range(0, min(count, self._count) * self._context, self._context)
        return torch.stack([self._tokens[start : start + self._context + 1] for start in starts])

    def _window(self, index: int) -> torch.Tensor:
        epoch, position = divmod(index, self._count)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            order = torch.randperm(self._count, generator=generator) if epoch else torch.arange(self._count)
            self._epoch, self._order = epoch, order
        start = int(self._order[position]) * self._context
        return self._tokens[start : start + self._context + 1]


class _Adam(torch.optim.AdamW):
    """AdamW whose step does not import torch's compiler, only to tell it where a graph would have to end."""

    step = torch.no_grad()(torch.optim.AdamW.step.__wrapped__)


class Optimizer:
    """Muon for the matrices inside the layers, AdamW for the rest, and the running average of all weights."""

    def __init__(self, model: GPTNeoXForCausalLM, learning_rate: float, width: int) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if not (p.ndim == 2 and "embed" not in name)]
        self.parameters = [p for _, p in named]
        self._rates = (learning_rate * (128 / width) ** 0.5, EMBEDDING_LEARNING_RATE)
        # What torch decorates to keep its compiler out asks for the compiler once, when it is first called.
        with imports.lean():
            self._optimizers = (
                Muon(matrices, lr=self._rates[0]),
                _Adam(others, lr=self._rates[1], betas=(0.9, 0.98), weight_decay=0.0, fused=True),
            )
            for optimizer in self._optimizers:
                optimizer.zero_grad()
                optimizer.state_dict()
        self.average = [p.detach().clone() for p in self.parameters]

    def step(self, step: int) -> None:
        """Apply the gradients of training step ``step`` (from 1) and clear them."""
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, step / WARM_UP_STEPS)
            optimizer.step()
            optimizer.zero_grad()
        weight = (AVERAGING_POWER + 1) / (step + AVERAGING_POWER)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], weight)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        current = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)
        yield
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, current)

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to go on."""
        states = [optimizer.state_dict() for optimizer in self._optimizers]
        return {"weights": [p.detach() for p in self.parameters], "average": self.average, "optimizers": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, state["weights"])
            torch._foreach_copy_(self.average, state["average"])
        with imports.lean():
            for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)


def loss_of(model: GPTNeoXForCausalLM, batch: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats per token of ``batch`` [sequences, context + 1]."""
    hidden = model.base_model(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
    return linear_cross_entropy(hidden.flatten(0, 1), model.get_output_embeddings().weight, batch[:, 1:].flatten())


def validation_loss(model: GPTNeoXForCausalLM, windows: torch.Tensor) -> float:
    """Mean cross-entropy in nats per token over ``windows`` [sequences, context + 1]."""
    model.eval()
    with torch.inference_mode():
        losses = [loss_of(model, batch) * len(batch) for batch in windows.split(8)]
    model.train()
    return float(torch.stack(losses).double().sum() / len(windows))


def train(corpus: Path, spec: dict[str, Any], outputs: list[Path]) -> None:
    """Train the model of ``spec`` and write a checkpoint directory to each of ``outputs``.

    ``spec`` has the keys of the configuration's ``ladder`` section and ``model``, ``width``, ``layers``, ``seed``;
    ``outputs`` are in the order of ``spec["checkpoints"]``. A checkpoint has weights, configuration, tokenizer and
    ``training.json`` (step, tokens, parameters and 6·N·D with and without embeddings, losses in nats per token).
    """
    torch.set_num_threads(1)
    # As use_deterministic_algorithms, which would import the compiler to tell it too
    torch.set_deterministic_debug_mode("error")
    # Nothing reads memory before it is written, and to fill all of it first takes a twentieth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    disable_progress_bar()  # of saving, which shows one for each checkpoint
    # Matrix products may round their inputs to bfloat16 where the processor is faster that way.
    torch.set_float32_matmul_precision("medium" if spec["width"] >= ROUNDED_WIDTH else "highest")
    staging = corpus / "training" / spec["model"]
    key = _key(spec, corpus)
    windows = Windows(np.load(corpus / "corpus" / "train.npy"), spec["context"], spec["seed"])
    held_out = Windows(np.load(corpus / "corpus" / "validation.npy"), spec["context"], 0).first(VALIDATION_WINDOWS)
    model = build_model(spec["vocabulary"], spec["width"], spec["layers"], spec["seed"])
    model.train()
    if (
        sum(p.numel() for p in model.parameters())
        != ladder_parameters(spec["vocabulary"], spec["width"], spec["layers"])[0]
    ):
        raise ElusiveError(f"{spec['model']}: the number of parameters is not what the registry says")
    optimizer = Optimizer(model, spec["learning_rate"], spec["width"])
    done = _resume(staging / "state.pt", key, optimizer)
    steps = spec["checkpoints"]
    progress = logs.Progress(f"training {spec['model']}", steps[-1] - done, "steps")
    for step in range(done + 1, steps[-1] + 1):
        loss = loss_of(model, windows.batch(step - 1, spec["batch"]))
        loss.backward()
        optimizer.step(step)
        progress.update(1, f"loss {loss.item():.2f}")
        if step in steps:
            with optimizer.averaged():
                _save_checkpoint(model, spec, step, loss.item(), validation_loss(model, held_out), corpus, staging)
            _save_state({"key": key, "step": step} | optimizer.state_dict(), staging / "state.pt")
    for step, output in zip(steps, outputs, strict=True):
        # Links, so that the finished checkpoints stay in the staging area until all stand under their final names.
        with atomic_path(output) as temporary:
            shutil.copytree(staging / f"step{step}", temporary, copy_function=_link)
    # First, so that a run killed while the rest is removed does not rely on it.
    (staging / "state.pt").unlink()
    shutil.rmtree(staging)
    logger.info("trained %s in %.0f s", spec["model"], progress.seconds)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _key(spec: dict[str, Any], corpus: Path) -> str:
    """What a saved state must agree in to be continued."""
    text = sha256_files([corpus / "corpus" / "train.npy", corpus / "corpus" / "validation.npy"])
    return hashlib.sha256(json.dumps([TRAINING_VERSION, spec, text], sort_keys=True).encode()).hexdigest()


def _resume(path: Path, key: str, optimizer: Optimizer) -> int:
    """Load the saved state if it fits; the number of steps done, else 0 with the staging area emptied."""
    if path.is_file():
        state = torch.load(path, weights_only=True)
        if state["key"] == key:
            optimizer.load_state_dict(state)
            logger.info("going on after step %d", state["step"])
            return state["step"]
    shutil.rmtree(path.parent, ignore_errors=True)
    return 0


def _save_state(state: dict[str, Any], path: Path) -> None:
    # Not straight to the file, because torch would hide that the disk is full.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _save_checkpoint(
    model: GPTNeoXForCausalLM,
    spec: dict[str, Any],
    step: int,
    train_loss: float,
    validation: float,
    corpus: Path,
    staging: Path,
) -> None:
    tokens = step * spec["batch"] * spec["context"]
    parameters, nonembedding = ladder_parameters(spec["vocabulary"], spec["width"], spec["layers"])
    record = {
        "model": spec["model"],
        "checkpoint": f"step{step}",
        "step": step,
        "tokens": tokens,
        "parameters": parameters,
        "parameters_nonembedding": nonembedding,
        "flops": flops(parameters, tokens),
        "flops_nonembedding": flops(nonembedding, tokens),
        "train_loss": train_loss,
        "validation_loss": validation,
    }
    if not math.isfinite(validation):
        raise ElusiveError(
            f"{spec['model']}: the training diverged, at step {step} the validation loss is {validation}: "
            f"lower ladder.learning_rate, which is {spec['learning_rate']}"
        )
    with atomic_path(staging / f"step{step}") as temporary:
        try:
            with imports.lean():
                model.save_pretrained(temporary)
        except SafetensorError as error:
            # atomic_path knows a full disk by its number
            raise OSError(errno.ENOSPC if "No space left" in str(error) else errno.EIO, str(error)) from error
        shutil.copytree(corpus / "tokenizer", temporary, dirs_exist_ok=True)
        (temporary / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    logger.info("%s step %d: validation loss %.3f", spec["model"], step, validation)
