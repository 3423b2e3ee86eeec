"""What a run of the workflow knows of itself, and tells its jobs."""

import inspect


def prepare_run():
    """Settings that Snakemake has only after it has read the Snakefile; functions that look up inputs call this.

    What `--rerun-incomplete` does is safe here: outputs appear complete or not at all. And a run that does jobs takes
    away the lock of one that was killed, and lets its jobs see how it goes on.
    """
    workflow.dag_settings.force_incomplete = True
    schedule_at_events()
    if workflow.executor_plugin and workflow.is_main_process and not workflow.dryrun and not workflow.touch:
        follow_run()


def schedule_at_events():
    """Let Snakemake look for jobs to start when a job has ended, and not by the clock as well.

    To hold its limit of 100 starts a second it looks at the jobs that are ready again one second after every look, and a
    job that ends while others are ready begins one more such chain: after a hundred jobs it looks a hundred times a
    second. Another limit, that somebody asked for, stays, and so does this one with a sample of jobs: the next look
    takes another sample, without which jobs that wait for others outside of theirs would wait for long.
    """
    settings = workflow.scheduling_settings
    limit = settings and settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1) and settings.subsample is None:
        settings.max_jobs_per_timespan = None


@functools.cache
def follow_run():
    home = Path(workflow.persistence.path)
    for said in runs.release_locks(home):
        logger.warning(said)
    runs.follow(home, get_locks, is_run_ending, count_pending_items, local=workflow.local_exec)


def get_locks():
    # Snakemake makes no more known of its locks than whether there are any.
    return list(getattr(workflow.persistence, "_lockfile", {}).values())


@functools.cache
def get_items_jobs():
    # In a workflow that imports this one, its name comes before the rule's.
    return [job for job in workflow.dag.needrun_jobs() if job.rule.name.endswith("items")]


def count_pending_items():
    """How many items tables this run has still to make; None before it has begun."""
    if workflow.scheduler is None:
        return None
    failed = workflow.scheduler.failed
    return sum(not workflow.dag.finished(job) and job not in failed for job in get_items_jobs())


def is_run_ending():
    """Whether the run starts no more jobs, since one has failed or somebody has asked for its end."""
    scheduler = workflow.scheduler
    failed = scheduler and scheduler.failed and not scheduler.keepgoing
    return bool(failed or getattr(scheduler, "_user_kill", None))


def remember_signatures():
    """Keep the arguments of the functions of all rules where Python looks for them first.

    Snakemake asks for them some twenty times a job, which is a tenth of planning a study of thousands of checkpoints.
    """
    for each in workflow.rules:
        resources = [getattr(resource, "_evaluator", None) for resource in each.resources.values()]
        for function in (*each.input, *each.params, *resources):
            if inspect.isfunction(function):
                function.__signature__ = inspect.signature(function)
