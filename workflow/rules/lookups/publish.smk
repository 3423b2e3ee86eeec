"""What the rules of the published data set look up."""

from elusive.configuration.facts import FILE as BENCHMARK_FACTS
from elusive.publish.description import describe

PUBLISH = "results/publish"


def get_published_tables():
    return {table: get_table(table)["parquet"] for table in TABLES}


def get_publish_description(wildcards):
    """What was run, as the card and the manifest say it."""
    return describe(REGISTRY, config)


def get_push_target():
    """Where `snakemake push` uploads to; it stops at once where the configuration does not say."""

    def get_target(wildcards):
        if REGISTRY.publish["push"] is None:
            raise WorkflowError(
                "publish.push: names no dataset on the hub to push to: set it to owner/name, in a configuration file or "
                "with --config 'publish={push: owner/name}'"
            )
        return REGISTRY.publish["push"]

    return get_target


def get_set_files(*tables):
    """Files of the published data set that the configuration names; none where it names none."""

    def get_files(wildcards):
        prepare_run()
        return [local(REGISTRY.published.path), *(local(REGISTRY.published.file(table)) for table in tables)]

    return [] if REGISTRY.published is None else get_files


def get_published_checkpoints():
    return [checkpoint for model in REGISTRY.published_models for checkpoint in model.checkpoints]


def get_published_logprobs():
    """Tables of log-likelihoods that come from a published data set, of each of its checkpoints."""
    return [
        LOGPROBS.format(model=each.model, checkpoint=each.name, benchmark="{benchmark}")
        for each in get_published_checkpoints()
    ]
