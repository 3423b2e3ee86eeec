"""What the plan and the budget look up."""

from elusive.plan import budget
from elusive.plan.estimate import Paths


def get_plan_paths():
    return {"items": ITEMS, "checkpoint": CHECKPOINT, "logprobs": LOGPROBS, "finished": FINISHED}


def get_needed_jobs():
    """Jobs that this run would do, and whether something in the rule makes earlier results doubtful."""
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        reason = workflow.dag.reason(job)
        yield budget.Job(job.rule.name, job.wildcards_dict, bool(reason.params_changed or reason.code_changed))


def check_budget():
    try:
        budget.check(REGISTRY, Paths(**get_plan_paths()), get_needed_jobs())
    except ElusiveError as error:
        raise WorkflowError(str(error)) from None


def get_all_patterns(wildcards):
    """Paths of all files that rules make, with their wildcards."""
    return sorted({str(path) for rule in workflow.rules for path in (*rule.output, *rule.log, rule.benchmark or "")})


def get_unnamed_patterns(wildcards):
    """Paths of outputs whose rules name benchmarks or families one by one, and of what is kept besides."""
    kinds = ["subjects/{benchmark}-{method}", "families/{benchmark}"]
    figures = [FIGURE.format(figure=kind, format=format) for kind in kinds for format in FIGURE_FORMATS]
    return [LOGPROBS, METRICS, CORRELATIONS, CHOICES, FORECAST, FORECAST_ITEMS, FINISHED, PARTIAL, *figures]
