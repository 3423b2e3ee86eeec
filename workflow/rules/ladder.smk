"""The ladder: a family of small models that the workflow trains itself."""


include: "lookups/ladder.smk"


rule corpus:
    input:
        get_corpus_source,
    output:
        multiext(f"{CORPUS}/", "train.npy", "validation.npy", "corpus.json"),
        tokenizer=directory(TOKENIZER),
    log:
        "results/logs/ladder/corpus.log",
    benchmark:
        "results/benchmarks/ladder/corpus.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        directory=lambda wildcards, output: str(get_results(output.tokenizer, TOKENIZER) / "ladder"),
        vocabulary=REGISTRY.ladder["vocabulary"],
        seed=REGISTRY.seed,
        version=1,
    message:
        "Training text and tokenizer of the ladder"
    shell:
        "python -m elusive corpus --archive {input:q} --vocabulary {params.vocabulary} --seed {params.seed} "
        "--output {params.directory:q} --log {log:q}"


rule train:
    input:
        corpus=rules.corpus.output,
    output:
        [directory(path) for path in get_ladder_checkpoints()],
    log:
        "results/logs/train/{model}.log",
    benchmark:
        "results/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model="|".join(model.name for model in REGISTRY.ladder_models) or "(?!)",
    # Training takes longest, and everything else waits for it.
    priority: 100
    conda:
        "../../envs/elusive.yaml"
    resources:
        mem_mb=get_memory,
        runtime=get_train_runtime,
    params:
        corpus=lambda wildcards, input: str(get_results(input.corpus[-1], TOKENIZER) / "ladder"),
        spec=get_train_spec,
        version=4,
    message:
        "Training {wildcards.model}"
    shell:
        "python -m elusive train --corpus {params.corpus:q} --spec {params.spec:q} --outputs {output:q} --log {log:q}"
