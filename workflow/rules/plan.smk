"""The plan: what a run would cost, before anything is paid; and the budget, which stops one that would cost too much."""


include: "lookups/plan.smk"


if not workflow.modifier.is_main_snakefile() and any(limit is not None for limit in REGISTRY.budget.values()):
    raise WorkflowError(
        "budget: Snakemake checks no budget in a workflow that is imported as a module; leave the section out, or run "
        "the Snakefile of elusive itself"
    )


# Runs before the first job of a run, and neither in a dry run nor in the jobs' own processes.
onstart:
    check_budget()
    follow_duration()


# Without declared outputs, so that a plan is never taken to be up to date.
rule plan:
    log:
        "results/logs/plan.log",
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        files=[str(file) for file in CONFIG_FILES],
        paths=get_plan_paths(),
    message:
        "What remains to be done, and what it would cost: results/plan.txt"
    script:
        "../scripts/plan.py"


for name, removes in {"leftovers": False, "remove_leftovers": True}.items():

    rule:
        name:
            name
        log:
            f"results/logs/{name}.log",
        localrule: True
        conda:
            "../../envs/elusive.yaml"
        params:
            files=[str(file) for file in CONFIG_FILES],
            patterns=get_all_patterns,
            paths=get_unnamed_patterns,
            removes=removes,
        message:
            "Results that the configuration no longer has: results/leftovers.txt"
        script:
            "../scripts/leftovers.py"
