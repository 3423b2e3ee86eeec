"""Checkpoints come from strangers: what their files may do, and how the scorer knows which weights they are."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
import safetensors.torch
import torch
import transformers

from elusive.configuration.directory import SOURCE, CheckpointDirectory
from elusive.errors import ElusiveError
from elusive.scoring.loading import load
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer

SOURCED = {"repo": "org/tiny", "revision": "step1", "commit": "c" * 40}


@pytest.fixture(scope="module")
def original(archive_path, tmp_path_factory):
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))
    return save_checkpoint(random_model(neox_config()), tokenizer, tmp_path_factory.mktemp("original"))


@pytest.fixture
def checkpoint(original, tmp_path):
    return shutil.copytree(original, tmp_path / "checkpoint")


def weights_of(checkpoint):
    return safetensors.torch.load_file(checkpoint / "model.safetensors")


class Malicious:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_the_same_weights(checkpoint):
    expected = load(checkpoint)[0].state_dict()
    (checkpoint / "model.safetensors").unlink()
    names = sorted(expected)
    shards = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for shard, part in shards.items():
        torch.save({name: expected[name] for name in part}, checkpoint / shard)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    found = load(checkpoint)[0].state_dict()
    assert sorted(found) == names
    assert all(torch.equal(found[name], expected[name]) for name in names)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_malicious_pickle_does_not_run(checkpoint, tmp_path, form):
    weights = load(checkpoint)[0].state_dict() | {"extra": Malicious(tmp_path / "ran")}
    (checkpoint / "model.safetensors").unlink()
    path = checkpoint / "pytorch_model.bin"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(tmp_path / "ran"), protocol=2))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ElusiveError, match="hold something else than tensors"):
        load(checkpoint)
    assert not (tmp_path / "ran").exists()
    # The file would do it: without torch's weights-only reader it does.
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_code_of_a_repository_runs_only_where_it_is_trusted(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    config = json.loads((checkpoint / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": classes}))
    # transformers renames GPT-NeoX's tensors by its model_type alone.
    named = {name.replace("embed_out", "lm_head"): tensor for name, tensor in weights_of(checkpoint).items()}
    safetensors.torch.save_file(named, checkpoint / "model.safetensors", metadata={"format": "pt"})
    (checkpoint / "own.py").write_text(
        f"import os\nos.makedirs({str(tmp_path / 'ran')!r}, exist_ok=True)\n"
        "from transformers import GPTNeoXConfig, GPTNeoXForCausalLM\n"
        "class OwnConfig(GPTNeoXConfig):\n    model_type = 'own'\n"
        "class OwnModel(GPTNeoXForCausalLM):\n    config_class = OwnConfig\n"
    )
    with pytest.raises(ElusiveError, match="trust_remote_code"):
        load(checkpoint)
    assert not (tmp_path / "ran").exists()
    model, _ = load(checkpoint, trust_remote_code=True)
    assert type(model).__name__ == "OwnModel"
    assert (tmp_path / "ran").exists()
    (checkpoint / "own.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(ElusiveError, match=r"the checkpoint's own code ends the program \(exit status 0\)") as error:
        load(checkpoint, trust_remote_code=True)
    assert str(checkpoint) in str(error.value)


def test_downloaded_weights_are_known_by_their_commit(checkpoint):
    by_files = CheckpointDirectory.open(checkpoint).revision
    assert len(by_files) == 64
    (checkpoint / SOURCE).write_text(json.dumps(SOURCED))
    assert CheckpointDirectory.open(checkpoint, "step1", "org/tiny").revision == SOURCED["commit"]
    assert CheckpointDirectory.open(checkpoint).revision == by_files, "whoever gives no repository, asks for the files"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no source.json"),
        ("{", "is damaged"),
        (json.dumps({"repo": "org/tiny"}), "is damaged"),
        (json.dumps(SOURCED | {"revision": "step2"}), "holds org/tiny at step2, but org/tiny at step1 is asked for"),
        (json.dumps(SOURCED | {"repo": "org/other"}), "holds org/other at step1, but org/tiny at step1 is asked for"),
    ],
)
def test_other_weights_than_asked_for_are_refused(checkpoint, content, said):
    if content is not None:
        (checkpoint / SOURCE).write_text(content)
    with pytest.raises(ElusiveError, match=said):
        CheckpointDirectory.open(checkpoint, "step1", "org/tiny")
