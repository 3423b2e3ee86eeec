"""The set's description for people: README.md, which the hub shows as the dataset's card.

Its YAML header is what the hub reads: a configuration for each table, licence, task and size. What the text says of the
data is taken from the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elusive.configuration.facts import ladder_texts
from elusive.publish.citation import bibtex
from elusive.publish.description import as_yaml

#: Table of the set -> what one of its rows is. Further tables are of the same name in the workflow's results.
ABOUT = {
    "choices": "one answer choice of one item under one checkpoint: its log-likelihood",
    "items": "one item of a benchmark: where it comes from, the right choice, and SHA-256 of its texts",
    "runs": "one checkpoint on one benchmark: weights, type, device, versions",
    "families": "one checkpoint of a family, over which scores are correlated with compute",
    "benchmarks": "one benchmark: data set, split, protocol, licence, citation",
    "metrics": "one metric: what it is, and whether a larger value is better",
    "checkpoints": "one checkpoint: parameters, training tokens, compute",
    "scores": "mean scores of one checkpoint on one benchmark",
    "means": "mean and standard error of one metric of one checkpoint on one benchmark",
    "aggregates": "how closely a mean score follows compute in one family on one benchmark",
    "correlation_statistics": "distribution over items of a metric's correlation with compute, with intervals",
    "attribution": "what one transformation of the chain costs in correlation",
    "mechanism": "what wrong choices do with compute",
    "mechanism_drops": "how the loss at p_choices depends on number, length and co-movement of the choices",
    "predictability": "one score of a benchmark, how closely it follows compute, and whether it can be recommended",
    "null_bands": "what correlations are by chance",
    "null_curves": "one point of the distribution of a single correlation by chance",
    "headline": "mean correlation of one score of a benchmark, beside what shuffled compute gives",
    "ceiling": "how closely the validation loss follows compute, tokens or parameters",
    "audit": "one finding to look at before the numbers are trusted; none where all is well",
    "checkpoint_intervals": "how far a mean correlation depends on single checkpoints, undefined ones left out",
    "authors_variants": "what the paper's own computation changes",
    "reference": "an accuracy beside a published one",
}
_HEADLINE = {
    "log_p_vocab_correct": "log p_vocab",
    "p_choices_correct": "p_choices",
    "brier": "−Brier",
    "accuracy": "accuracy",
}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SIZES += ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"))


@dataclass(frozen=True)
class Content:
    """What the card is made of.

    ``frames`` has the set's tables ``benchmarks``, ``checkpoints``, ``runs`` and, as far as the run made them,
    ``headline``; ``rows`` the number of rows of every table; ``described``
    is that of :func:`elusive.publish.description.describe`; ``dictionary`` the columns of each table;
    ``made_by`` says which version of the workflow wrote the set; ``metadata`` are those of the items tables.
    """

    title: str
    described: Mapping[str, Any]
    frames: Mapping[str, pl.DataFrame]
    rows: Mapping[str, int]
    dictionary: Mapping[str, Sequence[Mapping[str, str]]]
    made_by: str
    metadata: Mapping[str, Mapping[str, Any]]

    @property
    def license(self) -> str | None:
        """The licence of the numbers, as the hub writes it."""
        return self.described["settings"]["license"]

    @property
    def family(self) -> Mapping[str, Any]:
        """The family that the headline is of: the first one that figures show."""
        return next(family for family in self.described["families"] if family["plotted"])

    @property
    def benchmarks(self) -> list[dict[str, Any]]:
        """The rows of the table ``benchmarks``."""
        return self.frames["benchmarks"].to_dicts()


def write_card(content: Content) -> str:
    """The text of README.md."""
    sections = [
        f"---\n{as_yaml(_header(content))}---\n\n# {content.title}",
        summary(content),
        _headline(content),
        _files(content),
        _recompute(content),
        _columns(content),
        _making(content),
        _licences(content),
        _limits(content),
        _source(),
        f"## Citation\n\n```bibtex\n{_bibtex(content)}\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _bibtex(content: Content) -> str:
    return bibtex(content.title, content.described["settings"]["authors"], content.benchmarks)


def _header(content: Content) -> dict[str, Any]:
    header: dict[str, Any] = {"pretty_name": content.title, "language": ["en"]}
    if content.license:
        header["license"] = content.license
    header["license_details"] = "Licence of the numbers: {}. Licences of the benchmarks' texts: {}.".format(
        content.license or "none chosen", "; ".join(f"{b['label']} {_licence(b)}" for b in content.benchmarks)
    )
    header["task_categories"] = ["multiple-choice", "question-answering"]
    header["size_categories"] = [next((name for end, name in _SIZES if content.rows["choices"] < end), "n>1T")]
    header["tags"] = ["evaluation", "log-likelihoods", "scaling", "language-model-evaluation"]
    header["configs"] = [
        {"config_name": table, "data_files": [{"split": "train", "path": f"data/{table}.parquet"}]}
        | ({"default": True} if table == "choices" else {})
        for table in content.rows
    ]
    return header


def _licence(benchmark: Mapping[str, Any]) -> str:
    return {None: "not known", "other": "its authors' own terms"}.get(benchmark["license"], benchmark["license"])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def summary(content: Content) -> str:
    """What the set holds, in a paragraph without line breaks."""
    checkpoints = content.frames["checkpoints"]
    scored = content.frames["runs"].select("model", "checkpoint").unique()
    models = scored["model"].n_unique()
    sizes = checkpoints.filter(pl.col("model").is_in(scored["model"].implode()))["parameters"]
    low, high = f"{sizes.min():,}", f"{sizes.max():,}"
    span = f"{low} parameters" if low == high else f"{low} to {high} parameters"
    texts = content.frames["benchmarks"]["texts"]
    kept = "with the texts of the items" if texts.all() else "without the texts of the items, which SHA-256 identifies"
    if texts.any() and not texts.all():
        kept = "with the texts of some benchmarks' items; the others' are identified by SHA-256"
    return (
        f"The log-likelihood of every answer choice: {_count(models, 'language model')} ({span}) at "
        f"{_count(len(scored), 'checkpoint')} on {_count(content.rows['items'], 'item')} of "
        f"{_count(content.rows['benchmarks'], 'multiple-choice benchmark')}, {content.rows['choices']:,} "
        f"log-likelihoods in all, {kept}; and what follows from them about which scores can be predicted from "
        "pretraining compute, by the method of Schaeffer et al. "
        "([arXiv 2406.04391](https://arxiv.org/abs/2406.04391))."
    )


def headline(content: Content) -> list[dict[str, Any]]:
    """A row a benchmark: its ``label``, and of each metric of the headline the mean correlation and if it is bold.

    Mean over items of the Spearman correlation with compute in the first plotted family, undefined ones counted as 0.
    Bold: the mean lies above the 97.5 % quantile of what compute shuffled among the checkpoints gives.
    """
    family, rows = content.family["name"], []
    found = content.frames["headline"].filter(pl.col("family") == family, pl.col("method") == "spearman")
    columns = found.select("benchmark", "metric", "mean", "above_shuffled").iter_rows()
    means = {(b, m): (mean, bool(above)) for b, m, mean, above in columns}
    for benchmark in content.benchmarks:
        keys = {metric: (benchmark["benchmark"], metric) for metric in _HEADLINE}
        cells = {metric: means.get(key, (None, False)) for metric, key in keys.items()}
        if any(mean is not None for mean, _ in cells.values()):
            rows.append({"benchmark": benchmark["benchmark"], "label": benchmark["label"], "cells": cells})
    return rows


def _headline(content: Content) -> str:
    if "headline" not in content.frames:
        return ""
    family = content.family

    def cell(value: float | None, bold: bool) -> str:
        text = "–" if value is None else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        return f"**{text}**" if bold else text

    rows = [[row["label"], *(cell(*row["cells"][metric]) for metric in _HEADLINE)] for row in headline(content)]
    # Those with compute: a checkpoint of step 0 has none.
    own = content.frames["headline"].filter(pl.col("family") == family["name"])
    number = own["num_models"].max() or len(family["members"])
    return "\n\n".join(
        [
            "## What follows compute",
            f"How closely each item's score follows training compute over the {_count(number, 'checkpoint')} of "
            f"“{family['label']}”: mean over items of the Spearman correlation with 6·N·D, where it is not defined "
            "counted as 0. From left to right: the log-likelihood of the right choice, its share of the probability of "
            "all choices, the Brier score of these shares, and whether it is the likeliest one. Bold: the mean is "
            "above what compute shuffled among the checkpoints gives (its 97.5 % quantile).",
            table(["benchmark", *_HEADLINE.values()], rows),
        ]
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; None is left empty."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _files(content: Content) -> str:
    rows = [[f"`data/{name}.parquet`", f"{count:,}", ABOUT.get(name, "")] for name, count in content.rows.items()]
    others = (
        "Besides: `configuration.yaml`, the configuration of the run; `data_dictionary.csv`, every column of the "
        "workflow's tables; `manifest.json` and `SHA256SUMS` (check with `sha256sum --check SHA256SUMS`); "
        "`croissant.json`; `CITATION.cff`."
    )
    return f"## Files\n\n{table(['file', 'rows', 'a row is'], rows)}\n\n{others}"


#: Recomputes a mean Spearman correlation with log p_vocab out of the choices alone; ties get their mean rank.
SCRIPT = (Path(__file__).parent / "recompute.txt").read_text(encoding="utf-8")


def script(content: Content) -> tuple[str, float] | None:
    """The script of the card and the number of the headline that it recomputes; None without a headline."""
    if "headline" not in content.frames:
        return None
    for row in headline(content):
        value = row["cells"]["log_p_vocab_correct"][0]
        if value is not None:
            text = SCRIPT.replace("@benchmark@", row["benchmark"]).replace("@family@", content.family["name"])
            return text, value
    return None


def _recompute(content: Content) -> str:
    found = script(content)
    if found is None:
        return ""
    text, value = found
    return (
        "## A number recomputed\n\nThe first number of the table above, out of the log-likelihoods (run it in this "
        f"folder):\n\n```python\n{text}```\n\nIt prints {value:.6f}, up to the last digits."
    )


def _columns(content: Content) -> str:
    parts = ["## Columns"]
    for name in content.rows:
        rows = [[f"`{r['column']}`", r["type"], r["unit"], r["meaning"]] for r in content.dictionary[name]]
        body = table(["column", "type", "unit", "meaning"], rows)
        parts.append(f"<details><summary><code>{name}</code></summary>\n\n{body}\n\n</details>")
    return "\n\n".join(parts)


def _values(frame: pl.DataFrame, column: str) -> str:
    found = Counter("not recorded" if value is None else str(value) for value in frame[column].to_list())
    return ", ".join(value for value, _ in sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def _making(content: Content) -> str:
    runs = content.frames["runs"]
    rows = []
    for model in content.described["models"]:
        origin = {"ladder": "trained by the workflow", "local": "a directory of the publisher's"}.get(model["source"])
        origin = model.get("repo") or origin or model["source"]
        checkpoints = [checkpoint["name"] for checkpoint in model["checkpoints"]]
        shown = ", ".join(checkpoints[:6]) + (f", … ({len(checkpoints)} in all)" if len(checkpoints) > 6 else "")
        rows.append([model["name"], origin, f"{model['parameters']:,}", shown])
    lines = [
        "## How it was made",
        f"By the Snakemake workflow *elusive*, {content.made_by}. Prompts: {_values(runs, 'protocol')}. Type of the "
        f"weights: {_values(runs, 'dtype')}; device: {_values(runs, 'device')}. Compute is 6·N·D with N all parameters "
        f"and D the training tokens ({content.described['compute']} numbers). `runs` has the revision of the weights "
        "and the versions of the software for each checkpoint and benchmark.",
        table(["model", "from", "parameters", "checkpoints"], rows),
    ]
    if any(model["source"] == "ladder" for model in content.described["models"]):
        texts = "; ".join(f"{t['name']}, {_licence(t)}" for t in ladder_texts())
        lines.append(
            f"The models that the workflow trained learnt from prose that goes with other benchmarks: {texts}. That "
            "text is no part of this data set."
        )
    return "\n\n".join(lines)


def _licences(content: Content) -> str:
    numbers = f"`{content.license}`" if content.license else "none has been chosen by who published them"
    rows = [
        [
            f"[{b['label']}]({b['homepage']})" if b["homepage"] else b["label"],
            b["dataset"],
            _licence(b),
            b["license_source"],
            b["license_note"],
            "yes" if b["texts"] else "no",
        ]
        for b in content.benchmarks
    ]
    header = ["benchmark", "data set", "licence of its texts", "stated in", "note", "texts in this set"]
    return (
        f"## Licences\n\nOf the numbers: {numbers}. The texts of the benchmarks are their authors':\n\n"
        f"{table(header, rows)}"
    )


def _limits(content: Content) -> str:
    lines = []
    for benchmark in content.benchmarks:
        total = benchmark["num_items_total"]
        if total is not None and benchmark["num_items"] < total:
            split = f"the {benchmark['split']} split" if benchmark["split"] else "its file"
            lines.append(
                f"{benchmark['label']} has {benchmark['num_items']:,} of the {total:,} items of {split}, drawn at "
                f"random with seed {content.metadata[benchmark['benchmark']].get('seed', 0)}."
            )
        if benchmark["split_note"]:
            lines.append(f"{benchmark['label']}: {benchmark['split_note'].rstrip('.')}.")
    if not content.frames["benchmarks"]["texts"].all():
        lines.append(
            "Texts are kept back where the table above says so. Whoever has a benchmark finds an item by "
            "`prompt_sha256` and `choices_sha256`: SHA-256 of the list of its contexts or continuations as JSON "
            'without spaces (`json.dumps(texts, ensure_ascii=False, separators=(",", ":"))`), in UTF-8.'
        )
    lines.append(
        "Checkpoints of one model follow one another in training: they are no independent draws, and intervals over "
        "items say nothing of other models."
    )
    lines.append("Other processors, types and versions of torch give other last digits of a log-likelihood.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _source() -> str:
    return (
        "## Go on from here\n\nWith the workflow *elusive*, this folder is a source: `published: <this folder>` in a "
        "configuration makes every table, figure and the report again, without weights, GPU or network, and compares "
        "models of your own with these."
    )
