"""Training of the ladder: sizes, data order, the loss, averaging, determinism, and going on after an interruption."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPTNeoXForCausalLM

from elusive.configuration.models import flops, ladder_parameters
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.ladder import training
from elusive.ladder.corpus import _save_tokenizer, train_tokenizer
from elusive.ladder.loss import ROWS, linear_cross_entropy
from elusive.ladder.training import (
    AVERAGING_POWER,
    HEAD_SIZE,
    Optimizer,
    Windows,
    build_model,
    heads_of,
    loss_of,
    train,
)

WORKFLOW = Path(__file__).parents[3] / "workflow"
SPEC = {
    "model": "tiny",
    "width": 32,
    "layers": 1,
    "vocabulary": 300,
    "context": 32,
    "batch": 2,
    "checkpoints": [2, 4, 6],
    "learning_rate": 0.01,
    "seed": 3,
}


@pytest.fixture(autouse=True, scope="module")
def restore_torch():
    """Training sets torch up for itself; the tests of other modules get it as it was."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.utils.deterministic.fill_uninitialized_memory = filled
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(False)


def make_corpus(directory, seed=0):
    """A corpus as the command ``corpus`` writes it, of random words."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(["tree", "river", "stone", "Cloud", "seven"], 30)) for _ in range(200)]
    (directory / "corpus").mkdir(parents=True)
    tokenizer = train_tokenizer(["".join(map(chr, rng.integers(97, 123, 60))) for _ in range(100)] + texts, 300)
    _save_tokenizer(tokenizer, directory / "tokenizer")
    for name, part in (("train", texts[:160]), ("validation", texts[160:])):
        ids = [token for text in part for token in (0, *tokenizer.encode(text).ids)]
        np.save(directory / "corpus" / f"{name}.npy", np.array(ids, dtype=np.uint16))
    return directory


def outputs(directory, spec=SPEC):
    return [directory / f"step{step}" for step in spec["checkpoints"]]


def contents(directories):
    return {(d.name, f.name): sha256_file(f) for d in directories for f in sorted(d.iterdir())}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("ladder"))


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """Checkpoint directories of an uninterrupted run."""
    directories = outputs(tmp_path_factory.mktemp("trained"))
    train(corpus, SPEC, directories)
    return directories


# --- sizes


@pytest.mark.parametrize(
    ("vocabulary", "width", "layers"), [(257, 32, 1), (300, 64, 3), (4096, 96, 2), (1000, 160, 5), (512, 256, 1)]
)
def test_parameters_are_what_the_registry_says(vocabulary, width, layers):
    model = build_model(vocabulary, width, layers, 0)
    everything = sum(p.numel() for p in model.parameters())
    embeddings = model.get_input_embeddings().weight.numel()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert ladder_parameters(vocabulary, width, layers) == (everything, everything - embeddings)


def test_initial_weights_come_from_the_seed():
    weights = [torch.cat([p.flatten() for p in build_model(257, 32, 1, seed).parameters()]) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


# --- data order


def test_every_width_has_heads_of_one_even_size():
    for width in range(32, 4097, 16):
        size, rest = divmod(width, heads_of(width))
        assert rest == 0 and size % 2 == 0 and size >= HEAD_SIZE, width
    assert [heads_of(width) for width in (32, 48, 64, 80, 96, 128, 528)] == [1, 1, 2, 2, 3, 4, 12]
    model = build_model(300, 528, 1, 0)
    assert torch.isfinite(model(input_ids=torch.arange(5)[None]).logits).all()


def test_windows_overlap_by_the_token_to_predict():
    windows = Windows(np.arange(41, dtype=np.uint16), 10, 0)
    first = windows.batch(0, 2)
    assert first.tolist() == [list(range(11)), list(range(10, 21))]
    assert windows.batch(1, 2).tolist() == [list(range(20, 31)), list(range(30, 41))]


def test_windows_leave_out_what_does_not_fill_one():
    windows = Windows(np.arange(40, dtype=np.uint16), 10, 0)
    assert windows.first(99)[:, 0].tolist() == [0, 10, 20]
    assert windows.first(2)[:, 0].tolist() == [0, 10]


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_epochs(count, size, seed):
    windows = Windows(np.arange(count * 5 + 1, dtype=np.uint16), 5, seed)
    steps = math.ceil(3 * count / size)
    taken = torch.cat([windows.batch(step, size) for step in range(steps)])[: 3 * count, 0]
    epochs = (taken // 5).reshape(3, count).tolist()
    assert epochs[0] == list(range(count))
    assert sorted(epochs[1]) == sorted(epochs[2]) == epochs[0]
    # Any step can be asked for at any time: this is what a resumed run does.
    fresh = Windows(np.arange(count * 5 + 1, dtype=np.uint16), 5, seed)
    assert torch.equal(fresh.batch(steps - 1, size), windows.batch(steps - 1, size))


def test_later_epochs_differ():
    windows = Windows(np.arange(501, dtype=np.uint16), 5, 0)
    epochs = [windows.batch(epoch, 100)[:, 0].tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


# --- loss


@pytest.mark.parametrize("rows", [1, 7, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 44])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_loss_and_gradients_equal_torchs(rows, dtype, tolerance):
    generator = torch.Generator().manual_seed(rows)
    hidden, weight = (torch.randn(n, 24, dtype=dtype, generator=generator).requires_grad_() for n in (rows, 301))
    targets = torch.randint(301, (rows,), generator=generator)
    loss = linear_cross_entropy(hidden, weight, targets)
    (3 * loss).backward()
    found = loss.detach(), hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    expected = torch.nn.functional.cross_entropy(hidden @ weight.t(), targets)
    (3 * expected).backward()
    for ours, theirs in zip(found, (expected.detach(), hidden.grad, weight.grad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_loss_gradcheck():
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (9, 5))
    targets = torch.randint(5, (9,), generator=generator)
    assert torch.autograd.gradcheck(lambda h, w: linear_cross_entropy(h, w, targets), (hidden, weight))


def test_loss_of_huge_logits_is_finite():
    hidden = torch.tensor([[1000.0], [-1000.0]]).requires_grad_()
    loss = linear_cross_entropy(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(1000.0)
    assert torch.isfinite(hidden.grad).all()


def test_loss_of_a_model_is_that_of_its_logits():
    model = build_model(300, 32, 2, 0)
    batch = torch.randint(300, (3, 17), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=batch[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    assert loss_of(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)


# --- averaging


def test_average_is_the_polynomial_one():
    """Shamir & Zhang's recursion, unrolled: weights t of T proportional to Gamma(t + gamma) / Gamma(t)."""
    model = build_model(257, 32, 1, 0)
    optimizer = Optimizer(model, 0.01, 32)
    batch = torch.randint(257, (2, 17), generator=torch.Generator().manual_seed(0))
    history = []
    for step in range(1, 13):
        loss_of(model, batch).backward()
        optimizer.step(step)
        history.append(torch.cat([p.detach().double().flatten() for p in model.parameters()]))
    share = torch.tensor(
        [math.exp(math.lgamma(t + AVERAGING_POWER) - math.lgamma(t)) for t in range(1, 13)], dtype=torch.float64
    )
    expected = (torch.stack(history) * (share / share.sum())[:, None]).sum(0)
    average = torch.cat([p.double().flatten() for p in optimizer.average])
    torch.testing.assert_close(average, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(average, history[-1], atol=1e-4)
    with optimizer.averaged():
        inside = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    assert torch.equal(inside, average)
    after = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    assert torch.equal(after, history[-1])


def test_a_checkpoint_holds_the_average(corpus, trained):
    """Training by hand, with nothing of ``train`` but the model and its optimizer, gives the saved weights."""
    from transformers import AutoModelForCausalLM

    model = build_model(300, 32, 1, SPEC["seed"])
    optimizer = Optimizer(model, SPEC["learning_rate"], 32)
    tokens = torch.from_numpy(np.load(corpus / "corpus" / "train.npy").astype(np.int64))
    average = None
    for step in range(1, 5):
        starts = [(2 * (step - 1) + i) * 32 for i in range(2)]
        loss_of(model, torch.stack([tokens[start : start + 33] for start in starts])).backward()
        optimizer.step(step)
        weights = [p.detach().clone() for p in model.parameters()]
        part = (AVERAGING_POWER + 1) / (step + AVERAGING_POWER)
        average = (
            weights if average is None else [(1 - part) * a + part * w for a, w in zip(average, weights, strict=True)]
        )
    saved = AutoModelForCausalLM.from_pretrained(trained[1])
    for ours, expected in zip(saved.parameters(), average, strict=True):
        torch.testing.assert_close(ours.detach(), expected, rtol=1e-4, atol=1e-6)


# --- checkpoints


def test_checkpoints_load_with_transformers(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for directory in trained:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        model = AutoModelForCausalLM.from_pretrained(directory)
        text = "seven stone river"
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert len(tokenizer) == model.config.vocab_size == 300
        assert tokenizer.bos_token_id == tokenizer.eos_token_id == model.config.eos_token_id == 0
        assert model(torch.tensor([ids])).logits.shape == (1, len(ids), 300)


def test_training_records(corpus, trained):
    from transformers import AutoModelForCausalLM

    parameters, nonembedding = ladder_parameters(300, 32, 1)
    held_out = Windows(np.load(corpus / "corpus" / "validation.npy"), 32, 0).first(training.VALIDATION_WINDOWS)
    for step, directory in zip(SPEC["checkpoints"], trained, strict=True):
        record = json.loads((directory / "training.json").read_text())
        losses = {key: record.pop(key) for key in ("train_loss", "validation_loss")}
        assert record == {
            "model": "tiny",
            "checkpoint": f"step{step}",
            "step": step,
            "tokens": step * 2 * 32,
            "parameters": parameters,
            "parameters_nonembedding": nonembedding,
            "flops": flops(parameters, step * 64),
            "flops_nonembedding": 6.0 * nonembedding * step * 64,
        }
        model = AutoModelForCausalLM.from_pretrained(directory)
        with torch.inference_mode():
            logits = model(input_ids=held_out[:, :-1]).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), held_out[:, 1:].flatten())
        assert losses["validation_loss"] == pytest.approx(expected.item(), rel=1e-5)
        assert 0 < losses["train_loss"] < 2 * math.log(300)


def test_loss_falls(trained):
    losses = [json.loads((d / "training.json").read_text())["validation_loss"] for d in trained]
    assert losses[0] > losses[1] > losses[2]


def test_nothing_is_left_in_the_staging_area(corpus, trained):
    assert not (corpus / "training" / "tiny").exists()
    assert {path.name for path in trained[0].parent.iterdir()} == {"step2", "step4", "step6"}


def test_two_runs_give_the_same_bytes(corpus, trained, tmp_path):
    train(corpus, SPEC, outputs(tmp_path))
    assert contents(outputs(tmp_path)) == contents(trained)


def test_another_seed_gives_other_weights(corpus, trained, tmp_path):
    train(corpus, SPEC | {"seed": 4}, outputs(tmp_path))
    file = ("step6", "model.safetensors")
    assert contents(outputs(tmp_path))[file] != contents(trained)[file]


def test_training_is_quiet_but_for_its_log(corpus, tmp_path, capfd):
    train(corpus, SPEC, outputs(tmp_path))
    assert "Writing" not in capfd.readouterr().err


# --- interruptions


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_bytes(tmp_path):
    spec = SPEC | {"checkpoints": [2, 240, 250], "context": 64, "width": 64, "layers": 2}
    home = make_corpus(tmp_path / "ladder")
    whole = outputs(tmp_path / "whole", spec)
    train(home, spec, whole)
    cut = outputs(tmp_path / "cut", spec)
    command = [sys.executable, "-m", "elusive", "train", "--corpus", home, "--spec", json.dumps(spec)]
    command += ["--log", tmp_path / "train.log", "--outputs", *cut]
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW), "OMP_NUM_THREADS": "1"}
    state = home / "training" / "tiny" / "state.pt"
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not any(directory.exists() for directory in cut)
    kept = torch.load(state, weights_only=True)["step"]
    assert kept in (2, 240)

    subprocess.run(command, env=environment, check=True)
    assert f"going on after step {kept}" in (tmp_path / "train.log").read_text()
    assert contents(cut) == contents(whole)


class Stop(Exception):
    pass


@pytest.fixture
def interrupted(corpus, tmp_path, monkeypatch):
    """Cut a run of ``spec`` off after its state was saved at ``step``."""

    def interrupt(spec, step):
        save = training._save_state

        def save_and_stop(state, path):
            save(state, path)
            if state["step"] == step:
                raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(training, "_save_state", save_and_stop)
            with pytest.raises(Stop):
                train(corpus, spec, outputs(tmp_path, spec))

    return interrupt


@pytest.mark.parametrize("step", SPEC["checkpoints"])
def test_going_on_from_any_checkpoint(corpus, trained, interrupted, tmp_path, caplog, step):
    interrupted(SPEC, step)
    with caplog.at_level("INFO", "elusive"):
        train(corpus, SPEC, outputs(tmp_path))
    assert f"going on after step {step}" in caplog.text
    assert contents(outputs(tmp_path)) == contents(trained)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"learning_rate": 0.02}, {"checkpoints": [2, 4, 8]}, {"layers": 2}, {"batch": 3}]
)
def test_another_specification_starts_anew(corpus, interrupted, tmp_path, caplog, change):
    interrupted(SPEC, 4)
    spec = SPEC | change
    with caplog.at_level("INFO", "elusive"):
        train(corpus, spec, outputs(tmp_path, spec))
    assert "going on" not in caplog.text
    record = json.loads((tmp_path / f"step{spec['checkpoints'][0]}" / "training.json").read_text())
    assert record["parameters"] == ladder_parameters(300, 32, spec["layers"])[0]
    assert record["tokens"] == 2 * 32 * spec["batch"]


def test_other_text_starts_anew(tmp_path, interrupted, corpus, caplog):
    interrupted(SPEC, 4)
    other = make_corpus(tmp_path / "other", seed=1)
    shutil.copytree(corpus / "training", other / "training")
    shutil.rmtree(corpus / "training")
    with caplog.at_level("INFO", "elusive"):
        train(other, SPEC, outputs(tmp_path))
    assert "going on" not in caplog.text


def test_linking_falls_back_to_a_copy(tmp_path, monkeypatch):
    """Results may lie on another file system than the staging area."""

    def cannot(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", cannot)
    (tmp_path / "a").write_text("text")
    training._link(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "text"


# --- trouble


def test_divergence_is_reported(corpus, tmp_path):
    spec = SPEC | {"learning_rate": 1e38}
    with pytest.raises(
        ElusiveError, match=r"tiny: the training diverged, at step 2 .*nan: lower ladder\.learning_rate"
    ):
        train(corpus, spec, outputs(tmp_path))
    assert not any(directory.exists() for directory in outputs(tmp_path))


def test_training_imports_no_compiler(corpus, tmp_path):
    """Its import takes longer than that of torch."""
    code = """
import json, pathlib, sys
from elusive.ladder import training
training.train(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), [pathlib.Path(path) for path in sys.argv[3:]])
model = training.build_model(300, 32, 1, 0)
optimizer, other = (training.Optimizer(model, 0.1, 32) for _ in range(2))
other.load_state_dict(optimizer.state_dict())
print([name for name in ("torch._dynamo", "scipy", "pandas") if name in sys.modules])
"""
    given = [str(corpus), json.dumps(SPEC), *map(str, outputs(tmp_path))]
    process = subprocess.run(
        [sys.executable, "-c", code, *given], env=os.environ | {"PYTHONPATH": str(WORKFLOW)}, stdout=subprocess.PIPE
    )
    assert process.returncode == 0
    assert process.stdout.decode().splitlines()[-1] == "[]"


def test_full_disk(corpus, tmp_path, monkeypatch):
    """The error that safetensors raises when the disk is full becomes the one that says so."""
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(GPTNeoXForCausalLM, "save_pretrained", full)
    with pytest.raises(ElusiveError, match="step2: no space left on the disk"):
        train(corpus, SPEC, outputs(tmp_path))
    assert not any(directory.exists() for directory in outputs(tmp_path))
