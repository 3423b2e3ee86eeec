"""Laws of right and wrong choices: their mean log-likelihoods against compute with fitted planes, and their margin."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotnine as p9
from plotnine.composition import Compose

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.forecast.names import MOVING

_LABELS = {"right": "right choices", "wrong": "wrong choices"}
_MARGIN = "#444444"


def plot(means: pd.DataFrame, benchmark: Benchmark) -> Compose:
    """Draw the levels on the left, the margin on the right; ``means`` is choice_means of one family and benchmark."""
    means = means.assign(fitted=means["fitted"].where(means["selected"]))
    levels = means[means["quantity"] != "margin"]
    levels = levels.assign(
        line=levels["model"] + levels["quantity"],
        quantity=pd.Categorical(levels["quantity"].map(_LABELS), list(_LABELS.values())),
    )
    margin = means[means["quantity"] == "margin"]
    fitted = {"linetype": "dashed", "size": 0.35, "na_rm": True}
    left = (
        p9.ggplot(levels, p9.aes("flops", "mean", color="quantity"))
        + p9.geom_line(p9.aes(y="fitted", group="line"), **fitted)
        + p9.geom_point(p9.aes(alpha="selected"), size=1.1, stroke=0)
        + p9.scale_color_manual([style.RIGHT, style.WRONG])
        + p9.scale_alpha_manual({True: 1.0, False: 0.25}, guide=None)
        + style.compute_scale(most=4)
        + p9.labs(
            x="training FLOPs (6·N·D)", y="mean log-likelihood (nats)", color="", title=style.escape(benchmark.label)
        )
        + style.theme(style.PAGE_WIDTH, 2.8)
        + p9.theme(legend_position="bottom", legend_box_spacing=0.02)
    )
    right = (
        p9.ggplot(margin, p9.aes("flops", "mean"))
        + p9.geom_hline(yintercept=0, size=0.3, color="#999999")
        + p9.geom_line(p9.aes(y="fitted", group="model"), color=_MARGIN, **fitted)
        + p9.geom_point(p9.aes(alpha="selected"), size=1.1, stroke=0, color=_MARGIN)
        + p9.scale_alpha_manual({True: 1.0, False: 0.25}, guide=None)
        + style.compute_scale(most=4)
        + p9.labs(x="training FLOPs (6·N·D)", y="mean margin, right − wrong (nats)")
        + style.theme(style.PAGE_WIDTH, 2.8)
    )
    return left | right


def _slopes(law: pd.Series) -> str:
    def one(axis: str) -> str:
        value = f"{style.format_number(law[f'slope_{axis}'], 1)}"
        if pd.isna(law[f"slope_{axis}_low"]):
            return value
        low, high = (style.format_number(law[f"slope_{axis}_{end}"], 1) for end in ("low", "high"))
        return f"{value} ({low} to {high})"

    if not law["both_axes"]:
        return f"{one('n')} a tenfold compute"
    return f"{one('n')} a tenfold N and {one('d')} a tenfold D"


def caption_text(means: pd.DataFrame, laws: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of one benchmark shows, with its numbers; ``laws`` is choice_laws of the family and benchmark."""
    label = next(iter(families.values()))
    rows = {row["quantity"]: row for _, row in laws.iterrows()}
    margin = rows["margin"]
    if margin["status"]:
        found = f"there is no law here: {margin['status']}."
    else:
        parts = [f"{what} {_slopes(rows[name])}" for name, what in _LABELS.items()]
        whether = "a common movement" if margin["movement"] >= MOVING else "no common movement to speak of"
        found = (
            f"in nats, with 95 % intervals, {'; '.join(parts)}. What is left for the margin is {_slopes(margin)}. The "
            f"movement of the items together is {margin['movement']:.3g} times what as many independent ones would "
            f"give: {whether}, for which it takes {MOVING:g}."
        )
    selected = int(means[means["quantity"] == "right"]["selected"].sum())
    return (
        f"{benchmark.label}: laws of right and wrong choices.\n\n"
        "Horizontal axes: training FLOPs (6·N·D), logarithmic; vertical axes: mean over items and choices of the "
        "log-likelihood (left) and of the margin of the right over each wrong choice (right). A dot is a checkpoint; "
        "pale ones are not learnt from. Dashed: the fitted plane in log N and log D, a line for each model. Family "
        f"“{label}”, {selected} of {means['flops'].count() // 3} checkpoints learnt from. "
        f"{benchmark.describe_items()}\n\n"
        f"What to see: {found}"
    )
