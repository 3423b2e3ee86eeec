"""Log-likelihood of every answer choice: one job for a checkpoint and a batch of benchmarks."""


include: "lookups/score.smk"


for batch, benchmarks in REGISTRY.batches.items():

    rule:
        name:
            batch
        input:
            checkpoint=get_checkpoint_directory,
            local_files=get_local_files,
            items_table=expand(ITEMS, benchmark=benchmarks),
        output:
            expand(LOGPROBS, benchmark=benchmarks, allow_missing=True),
        log:
            f"results/logs/{batch}/{{model}}/{{checkpoint}}.log",
        benchmark:
            f"results/benchmarks/{batch}/{{model}}/{{checkpoint}}.tsv"
        conda:
            "../../envs/elusive.yaml"
        threads: REGISTRY.scoring["threads"]
        resources:
            gpu=0 if REGISTRY.scoring["device"] == "cpu" else 1,
            mem_mb=get_memory,
            runtime=get_score_runtime(batch),
        params:
            spec=get_score_spec(batch),
            settings=get_score_settings,
            tokens=lambda wildcards, output: str(get_results(output[0], LOGPROBS) / "tokens"),
            finished=lambda wildcards, output: str(get_results(output[0], LOGPROBS) / "finished"),
            version=SCORER_VERSION,
        message:
            "Scoring {wildcards.model}/{wildcards.checkpoint}"
        # Snakemake's update() would keep finished benchmarks too, but calls tables current that a failed job left behind.
        shell:
            "python -m elusive score --checkpoint {input.checkpoint:q} --items {input.items_table:q} "
            "--outputs {output:q} --spec {params.spec:q} --settings {params.settings:q} "
            "--token-cache {params.tokens:q} --finished {params.finished:q} --log {log:q}"
