"""What the rules of the ladder look up."""

import json

from elusive.plan import demand

CORPUS = "results/ladder/corpus"
TOKENIZER = "results/ladder/tokenizer"


def get_ladder_checkpoints():
    steps = [f"step{step}" for step in REGISTRY.ladder["checkpoints"]]
    return expand(CHECKPOINT, checkpoint=steps, allow_missing=True)


def get_training_records():
    return [
        CHECKPOINT.format(model=checkpoint.model, checkpoint=checkpoint.name)
        for model in REGISTRY.ladder_models
        for checkpoint in model.checkpoints
    ]


def get_train_spec(wildcards):
    model = REGISTRY.models[wildcards.model]
    spec = REGISTRY.ladder | model.shape | {"model": model.name, "seed": REGISTRY.seed}
    return json.dumps(spec, sort_keys=True)


def get_memory(wildcards, attempt):
    return demand.memory_mb(REGISTRY.models[wildcards.model], attempt)


def get_train_runtime(wildcards, attempt):
    return demand.train_minutes(REGISTRY.models[wildcards.model], attempt)
