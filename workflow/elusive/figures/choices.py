"""Whether wrong choices follow compute as right ones do: survival curves of single choices, one panel a family.

The paper scatters the masses of right and wrong choices against each other; this is the direct test, each choice's
log-likelihood against compute.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.survival import survival_steps

#: What is correlated with compute, in drawing order: the curve's name and colour.
CURVES = {
    "correct": ("the right choice", style.RIGHT),
    "incorrect": ("each wrong choice", "#D9622B"),
    "all_incorrect": ("all wrong choices together", style.WRONG),
    "margin": ("margin of the right over the best wrong choice", "#6E6E6E"),
}


def _values(choices: pd.DataFrame, correlations: pd.DataFrame, family: str) -> dict[str, np.ndarray]:
    """Spearman correlations with compute for each of :data:`CURVES`, NaN where undefined."""
    own = choices[choices["family"] == family]
    spearman = correlations[(correlations["family"] == family) & (correlations["method"] == "spearman")]
    by_metric = {metric: rows["correlation"].to_numpy(dtype=float) for metric, rows in spearman.groupby("metric")}
    return {
        "correct": own.loc[own["is_gold"], "spearman"].to_numpy(dtype=float),
        "incorrect": own.loc[~own["is_gold"], "spearman"].to_numpy(dtype=float),
        "all_incorrect": by_metric["log_p_vocab_incorrect"],
        "margin": by_metric["margin_log"],
    }


def plot(
    choices: pd.DataFrame, correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]
) -> p9.ggplot:
    """Draw the curves; both tables hold the rows of all ``families`` (name -> label) on one benchmark."""
    curves = []
    for family, label in families.items():
        for name, values in _values(choices, correlations, family).items():
            x, y = survival_steps(values)
            curves.append(pd.DataFrame({"x": x, "y": y, "family": label, "curve": CURVES[name][0]}))
    names = [text for text, _ in CURVES.values()]
    frame = pd.concat(curves)
    frame["family"] = pd.Categorical(frame["family"], list(families.values()))
    frame["curve"] = pd.Categorical(frame["curve"], names)
    columns = min(len(families), 3)
    rows = -(-len(families) // columns)
    return (
        p9.ggplot(frame, p9.aes("x", "y", color="curve"))
        + p9.geom_vline(xintercept=0, size=0.3, color="#999999")
        + p9.geom_step(size=0.55)
        + p9.facet_wrap("family", ncol=columns, labeller=style.strips())
        + p9.scale_color_manual(dict(CURVES.values()))
        + style.correlation_scale()
        + p9.scale_y_continuous(limits=(0, 1), breaks=[0, 0.25, 0.5, 0.75, 1], minor_breaks=[], expand=(0.01, 0))
        + p9.labs(
            x=r"Spearman correlation $c$ of the log-likelihood with $\log_{10}$ FLOPs",
            y=r"share with correlation $> c$",
            color="",
            title=style.escape(benchmark.label),
        )
        + p9.guides(color=p9.guide_legend(nrow=2))
        + style.theme(style.PAGE_WIDTH, 1.1 + 2.1 * rows)
        + p9.theme(legend_position="bottom", legend_box_spacing=0.02)
    )


def caption_text(
    choices: pd.DataFrame, correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]
) -> str:
    """What the figure of one benchmark shows, with its numbers."""
    first = next(iter(families))
    found = _values(choices, correlations, first)
    means = {
        name: style.format_number(float(np.nan_to_num(values).mean())) if np.isfinite(values).any() else "unknown"
        for name, values in found.items()
    }
    own = choices[(choices["family"] == first) & ~choices["is_gold"]]
    together = own["comovement"].median()
    equal = own["comovement_partial"].median()
    models = correlations.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    return (
        f"{benchmark.label}: right and wrong choices against compute.\n\n"
        "Horizontal axis: Spearman correlation, over a family's checkpoints, of a log-likelihood with log10 of the "
        "training FLOPs (6·N·D). Vertical axis: share of choices (or items) whose correlation is larger. The margin is "
        "the log-likelihood of the right choice minus that of the best wrong one; accuracy is its sign.\n\n"
        f"{benchmark.describe_items()} Families: {members}.\n\n"
        f"What to see: in “{families[first]}” the mean correlation, undefined ones counted as 0, is "
        f"{means['correct']} for the right choice, {means['incorrect']} for a wrong one, {means['all_incorrect']} for "
        f"all wrong ones together and {means['margin']} for the margin between them. {_together(together, equal)}"
    )


#: A median correlation above this one in size is called a movement together, or against each other.
_MOVE = 0.3


def _together(median: float, partial: float) -> str:
    """What wrong choices do when the right one moves, as far as their correlation says anything."""
    if np.isnan(median):
        return "How choices move together over the checkpoints cannot be told."
    if median > _MOVE:
        what = "A wrong choice and the right one move together over the checkpoints"
    elif median < -_MOVE:
        what = "A wrong choice falls over the checkpoints where the right one rises"
    else:
        what = "A wrong choice and the right one hardly move together over the checkpoints"
    equal = "" if np.isnan(partial) else f"; at equal compute {style.format_number(partial)}"
    return f"{what} (median Spearman correlation {style.format_number(median)}{equal})."
