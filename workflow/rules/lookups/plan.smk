"""What the plan and the budget look up."""

from elusive.plan import budget, duration, estimate
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


def get_expected_jobs():
    """What every job of this run is expected to take."""
    needed = list(workflow.dag.needrun_jobs())
    is_scoring = any(job.rule.name in REGISTRY.scoring_jobs for job in needed)
    sizes = budget.sizes_of(REGISTRY, Paths(**get_plan_paths())) if is_scoring else {}
    for job in needed:
        kind, flops, known = job.rule.name, 0.0, job.wildcards_dict
        if kind == "train":
            flops = estimate.training_flops(REGISTRY.models[known["model"]])
        elif scoring := REGISTRY.scoring_jobs.get(kind):
            kind = "score"
            for name in scoring.checkpoints or [known["checkpoint"]]:
                flops += estimate.checkpoint_flops(REGISTRY, sizes, (known["model"], name), scoring.benchmarks)
        seconds = duration.expected_seconds(kind, flops)
        yield job, duration.Expected(kind, seconds, job.threads, tuple(workflow.dag.job_dependencies(job)))


def follow_duration():
    """Say how long a run on this machine will take. A cluster starts jobs when it likes."""
    if not workflow.local_exec or workflow.touch:
        return
    jobs = dict(get_expected_jobs())
    # How fast a graphics card or a network is shows when a job has ended; the ladder is small on any device.
    is_on_cpu = REGISTRY.scoring["device"] in ("auto", "cpu")
    is_own = is_on_cpu and all(model.source == "ladder" for model in REGISTRY.scored_models)
    duration.tell(
        duration.Remaining(jobs, workflow.cores or 1, duration.slowness()),
        running=lambda: list(workflow.scheduler.running) if workflow.scheduler else [],
        is_finished=workflow.dag.finished,
        is_ending=lambda: bool(workflow.scheduler and workflow.scheduler.failed) or is_run_ending(),
        say=logger.info,
        unsure=() if is_own else ("score", "download"),
    )


def get_all_patterns(wildcards):
    """Paths of all files that rules make, with their wildcards."""
    return sorted({str(path) for rule in workflow.rules for path in (*rule.output, *rule.log, rule.benchmark or "")})


def get_unnamed_patterns(wildcards):
    """Paths of outputs whose rules name benchmarks or families one by one, and of what is kept besides."""
    kinds = ["subjects/{benchmark}-{method}", "families/{benchmark}"]
    figures = [FIGURE.format(figure=kind, format=format) for kind in kinds for format in FIGURE_FORMATS]
    return [LOGPROBS, METRICS, CORRELATIONS, CHOICES, FORECAST, FORECAST_ITEMS, FINISHED, PARTIAL, *figures]
