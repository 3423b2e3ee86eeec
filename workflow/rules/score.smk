"""Log-likelihood of every answer choice: one job for a checkpoint and a batch of benchmarks."""

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
        wildcard_constraints:
            model=get_names(REGISTRY.scored_models),
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
            version=SCORER_VERSION,
        message:
            "Scoring {wildcards.model}/{wildcards.checkpoint}"
        # Snakemake's update() would keep finished benchmarks too, but calls tables current that a failed job left behind.
        shell:
            "python -m elusive score --checkpoint {input.checkpoint} --items {input.items_table} --outputs {output} "
            "--spec {params.spec:q} --settings {params.settings:q} --token-cache results/tokens "
            "--finished results/finished --log {log}"
