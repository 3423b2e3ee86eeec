"""The plan: what a run would cost, before anything is paid; and the budget, which stops one that would cost too much."""

from elusive.plan import budget
from elusive.plan.estimate import Paths

PLAN = {"text": "results/plan.txt"} | get_table("plan")


def get_plan_paths():
    return {"items": ITEMS, "checkpoint": CHECKPOINT, "logprobs": LOGPROBS, "finished": FINISHED}


def get_needed_jobs():
    """Jobs that this run would do, and whether something in the rule makes earlier results doubtful."""
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        reason = workflow.dag.reason(job)
        changed = bool(reason.params_changed or reason.code_changed)
        yield budget.Job(job.rule.name, job.wildcards_dict, changed)


# Runs before the first job of a run, and neither in a dry run nor in the jobs' own processes.
onstart:
    try:
        budget.check(REGISTRY, Paths(**get_plan_paths()), get_needed_jobs())
    except ElusiveError as error:
        raise WorkflowError(str(error)) from None


# Without declared outputs, so that a plan is never taken to be up to date.
rule plan:
    log:
        "results/logs/plan.log",
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        **PLAN,
        files=[str(file) for file in [CONFIG, *workflow.config_settings.configfiles]],
        paths=get_plan_paths(),
    message:
        "What remains to be done, and what it would cost: results/plan.txt"
    script:
        "../scripts/plan.py"
