"""Log-likelihood of every answer choice: a job scores a checkpoint, or several of a small model, on some benchmarks."""


include: "lookups/score.smk"


for job in REGISTRY.scoring_jobs.values():

    rule:
        name:
            job.rule
        input:
            checkpoint=get_checkpoint_directories(job.checkpoints),
            local_files=get_local_files(job.checkpoints),
            items_table=expand(ITEMS, benchmark=job.benchmarks),
        output:
            get_score_output(job),
        log:
            f"results/logs/{get_score_record(job)}.log",
        benchmark:
            f"results/benchmarks/{get_score_record(job)}.tsv"
        wildcard_constraints:
            model="|".join(job.models) or "(?!)",
        conda:
            "../../envs/elusive.yaml"
        threads: REGISTRY.scoring["threads"]
        resources:
            gpu=0 if REGISTRY.scoring["device"] == "cpu" else 1,
            mem_mb=get_memory,
            runtime=get_score_runtime(job),
        params:
            spec=get_score_spec(job),
            own_files=get_local_identities(job.checkpoints),
            settings=get_score_settings(job.checkpoints),
            tokens=lambda wildcards, output: str(get_results(output[0], LOGPROBS) / "tokens"),
            finished=lambda wildcards, output: str(get_results(output[0], LOGPROBS) / "finished"),
            version=SCORER_VERSION,
        message:
            get_score_message(job)
        # Snakemake's update() would keep finished benchmarks too, but calls tables current that a failed job left behind.
        shell:
            "python -m elusive score --checkpoint {input.checkpoint:q} --items {input.items_table:q} "
            "--outputs {output:q} --spec {params.spec:q} --settings {params.settings:q} "
            "--token-cache {params.tokens:q} --finished {params.finished:q} --log {log:q}"
