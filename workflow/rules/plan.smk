"""The plan: what a run would cost, before anything is paid; and the budget, which stops one that would cost too much."""


# Runs before the first job of a run, and neither in a dry run nor in the jobs' own processes.
onstart:
    check_budget()


# Without declared outputs, so that a plan is never taken to be up to date.
rule plan:
    log:
        "results/logs/plan.log",
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        **get_table("plan"),
        text=PLAN,
        files=[str(file) for file in [CONFIG, *workflow.config_settings.configfiles]],
        paths=get_plan_paths(),
    message:
        "What remains to be done, and what it would cost: results/plan.txt"
    script:
        "../scripts/plan.py"
