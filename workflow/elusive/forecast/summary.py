"""What is said of forecasts, sentence by sentence, each from the tables and written only where it is true.

The functions take tables of the stage as pandas data frames, the ``family`` that is spoken of, and ``labels``
(benchmark -> how it is called), and return a sentence or more, or None where there is nothing true to say.
:func:`section` puts them together; its first sentence says what can be forecast, how well, and what cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from elusive.forecast.names import BINS, ITEM_METHODS, KRIGING, LABELS, MOVING
from elusive.forecast.targets import FEW, NEAR_CHANCE

#: Metrics as sentences call them; errors of shares are in points, hundredths.
METRICS = {
    "accuracy": "accuracy",
    "p_choices_correct": "p_choices",
    "brier": "the Brier score",
    "log_p_vocab_correct": "log p_vocab",
}
TIMES = {"x1.5": "up to 2.2 times", "x3": "2.2 to 5.5 times", "x10": "5.5 to 17 times", "x30": "17 to 63 times"}
#: A rise of the accuracy by more than this from chance is a jump.
JUMP = 0.1
_NEXT = "x1.5"
#: Errors that differ by less than this share are called about the same.
_CLOSE = 0.1


def _number(value: float, digits: int = 1) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _error(value: float, metric: str) -> str:
    """An error with its unit."""
    return f"{_number(value)} nats" if metric == "log_p_vocab_correct" else f"{_number(100 * value)} points"


def _range(low: float, high: float, metric: str) -> str:
    factor = 1 if metric == "log_p_vocab_correct" else 100
    return f"{_number(factor * low)} to {_number(factor * high)}"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _names(names: Sequence[str], labels: Mapping[str, str], most: int = 12, shown: int = 6) -> str:
    """Up to ``most`` benchmarks by name; of more the first ``shown``, and how many others there are."""
    listed = [labels.get(name, name) for name in names]
    return _join(listed if len(names) <= most else [*listed[:shown], f"{len(names) - shown} others"])


def _rolling(summary: pd.DataFrame, family: str, metric: str, name: str | None) -> pd.DataFrame:
    """Rows of backtest_summary that roll by compute, of one class of horizons (None: of all together)."""
    own = summary[
        (summary["family"] == family)
        & (summary["protocol"] == "R")
        & (summary["metric"] == metric)
        & summary["subject"].isna()
    ]
    return own[own["bin"].isna() if name is None else own["bin"] == name]


def movements(laws: pd.DataFrame, family: str) -> dict[str, float]:
    """Benchmark -> movement of its items, where there is a law."""
    own = laws[(laws["family"] == family) & (laws["quantity"] == "margin")].dropna(subset=["movement"])
    return dict(zip(own["benchmark"], own["movement"].astype(float), strict=True))


def what_can_be_forecast(
    summary: pd.DataFrame, laws: pd.DataFrame, forecasts: pd.DataFrame, family: str, labels: Mapping[str, str]
) -> str:
    """The first sentence: what can be forecast here, how well, and what cannot."""
    rows = _rolling(summary, family, "accuracy", _NEXT)
    if rows.empty:
        return "What can be forecast here is not known: there are too few checkpoints to judge a forecast by."
    known = movements(laws, family)
    moving = sorted(name for name, value in known.items() if value >= MOVING)
    still = sorted(name for name, value in known.items() if value < MOVING)
    parts: list[str] = []
    named: list[str] = []
    for names, text in ((moving, "whose items move together"), (still, "whose items have no common movement")):
        own = rows[rows["benchmark"].isin(names)]
        errors = {method: float(own[own["method"] == method]["mae"].mean()) for method in (KRIGING, "last") if len(own)}
        if not errors:
            continue
        named = names
        ratio = errors[KRIGING] / errors["last"] if errors["last"] > 0 else np.inf if errors[KRIGING] > 0 else 1.0
        than = "less than" if ratio < 1 - _CLOSE else "more than" if ratio > 1 + _CLOSE else "about as much as"
        parts.append(
            f"on {_names(names, labels)}, {text}, {LABELS[KRIGING]} missed accuracy by "
            f"{_error(errors[KRIGING], 'accuracy')} at {TIMES[_NEXT]} the compute, "
            f"{than} the last value ({_error(errors['last'], 'accuracy')})"
        )
    if not parts:
        return "What can be forecast here is not known: no benchmark has enough checkpoints for a law."
    sentence = "; ".join(parts)
    chance = still_at_chance(forecasts, family)
    cannot = ""
    if chance:
        # The ones without a common movement have just been named.
        which = "these" if len(chance) > 1 and chance == still == named else _names(chance, labels)
        cannot = f"; what cannot be forecast is whether and when {which} will leave chance"
    return f"{sentence[:1].upper()}{sentence[1:]}{cannot}."


def still_at_chance(forecasts: pd.DataFrame, family: str) -> list[str]:
    """The benchmarks whose forecasts are marked as at chance."""
    own = forecasts[(forecasts["family"] == family) & forecasts["subject"].isna()]
    return sorted(own[own["status"].str.contains(NEAR_CHANCE, regex=False)]["benchmark"].unique())


def against_last(summary: pd.DataFrame, family: str, metric: str, name: str) -> str | None:
    """How the recommended method did against the last value over all benchmarks, at one class of horizons."""
    rows = _rolling(summary, family, metric, name)
    own = rows[rows["benchmark"].isna() & (rows["method"] == KRIGING)]
    last = rows[rows["benchmark"].isna() & (rows["method"] == "last")]
    if own.empty or last.empty:
        return None
    row = own.iloc[0]
    text = (
        f"At {TIMES[name]} the compute, {LABELS[KRIGING]} missed {METRICS[metric]} by {_error(row['mae'], metric)}, "
        f"the last value by {_error(last.iloc[0]['mae'], metric)}"
    )
    clusters = int(row["num_clusters"])
    if pd.isna(row["minus_last_low"]):
        return f"{text}; of one benchmark nothing is known of how far another would differ."
    interval = (
        f"difference {_range(row['minus_last'], row['minus_last'], metric).split(' to ')[0]}, 95 % interval "
        f"{_range(row['minus_last_low'], row['minus_last_high'], metric)} over {clusters} benchmarks"
    )
    if row["minus_last_high"] < 0:
        verdict = "it is better"
    elif row["minus_last_low"] > 0:
        verdict = "it is worse"
    else:
        verdict = "the two cannot be told apart"
    return f"{text} ({interval}): {verdict}."


def nothing_beats_last(summary: pd.DataFrame, family: str) -> str | None:
    """Metrics and horizons at which no method's error is below the last value's beyond doubt."""
    found = []
    for metric, text in METRICS.items():
        names = []
        for name in BINS:
            rows = _rolling(summary, family, metric, name)
            rows = rows[rows["benchmark"].isna() & (rows["method"] != "last")].dropna(subset=["minus_last_high"])
            if len(rows) and not (rows["minus_last_high"] < 0).any():
                names.append(name)
        if names:
            found.append(f"{text} at {_join(names)}")
    if not found:
        return None
    return f"No method beats the last value beyond doubt for {_join(found)}."


def best_method(summary: pd.DataFrame, family: str, metric: str, name: str) -> str | None:
    """The method with the least error over all benchmarks, where it is clearly below the recommended one's."""
    rows = _rolling(summary, family, metric, name)
    rows = rows[rows["benchmark"].isna()].sort_values("mae", kind="stable")
    if rows.empty or rows.iloc[0]["method"] == KRIGING or not (rows["method"] == KRIGING).any():
        return None
    best, own = rows.iloc[0], rows[rows["method"] == KRIGING].iloc[0]
    if best["mae"] > (1 - _CLOSE) * own["mae"]:
        return None
    return (
        f"Of all methods, “{LABELS[best['method']]}” has the least error of {METRICS[metric]} at {TIMES[name]} the "
        f"compute, {_error(best['mae'], metric)} against {_error(own['mae'], metric)} of {LABELS[KRIGING]}: known only "
        "afterwards."
    )


def jumps(backtests: pd.DataFrame, scores: pd.DataFrame, family: str, labels: Mapping[str, str]) -> str | None:
    """What became of intervals where accuracy left chance after the origin; ``scores`` has chance by benchmark."""
    chance = dict(zip(scores["benchmark"], scores["chance"], strict=False))
    own = backtests[
        (backtests["family"] == family)
        & (backtests["protocol"] == "R")
        & (backtests["metric"] == "accuracy")
        & (backtests["method"] == KRIGING)
        & backtests["subject"].isna()
    ]
    guess = own["benchmark"].map(chance).astype(float)
    # A rise from below chance to chance leaves nothing.
    rose = (own["observed"] - own["last_value"] > JUMP) & (own["observed"] > guess + JUMP)
    jumped = own[(own["last_value"] <= guess + JUMP / 2) & rose]
    if jumped.empty:
        return None
    inside = pd.Series(np.nan, jumped.index)
    known = jumped["low80"].notna()
    factor = jumped["inflation"].fillna(1.0)
    low = jumped["forecast"] + factor * (jumped["low80"] - jumped["forecast"])
    high = jumped["forecast"] + factor * (jumped["high80"] - jumped["forecast"])
    inside[known] = ((jumped["observed"] >= low) & (jumped["observed"] <= high))[known].astype(float)
    names = sorted(jumped["benchmark"].unique())
    rise = float((jumped["observed"] - jumped["last_value"]).mean())
    foreseen = float((jumped["forecast"] - jumped["last_value"]).mean())
    average = " on average" if len(jumped) > 1 else ""
    text = (
        f"On {_names(names, labels)} accuracy left chance after the origin of {_count(len(jumped), 'forecast')}: it "
        f"rose by {_number(100 * rise, 0)} points{average}, where {_number(100 * foreseen, 0)} were forecast"
    )
    if not known.any():
        return f"{text}."
    return f"{text}, and the 80 % intervals held {_number(100 * float(inside.mean()), 0)} % of what came."


def laws_cancel(laws: pd.DataFrame, family: str, labels: Mapping[str, str]) -> str | None:
    """On how many benchmarks right and wrong choices follow laws that cannot be told apart."""
    own = laws[(laws["family"] == family) & (laws["quantity"] == "margin")].dropna(subset=["slope_n", "slope_n_low"])
    if own.empty:
        return None

    def includes_zero(row: pd.Series) -> bool:
        axes = ["n", "d"] if row["both_axes"] else ["n"]
        return all(row[f"slope_{axis}_low"] <= 0 <= row[f"slope_{axis}_high"] for axis in axes)

    same = own[own.apply(includes_zero, axis=1)]
    parted = sorted(set(own["benchmark"]) - set(same["benchmark"]))
    if same.empty:
        return None
    rest = f"; they part on {_names(parted, labels)}" if parted else ""
    where = f"{len(same)} of {len(own)} benchmarks" if len(own) > 1 else _names(list(same["benchmark"]), labels)
    return (
        f"On {where} the log-likelihoods of right and of wrong choices follow laws whose slopes cannot be told apart, "
        f"so that most of what a law of either says cancels in the answer{rest}."
    )


def intervals_hold(coverage: pd.DataFrame, family: str, metric: str = "accuracy") -> str | None:
    """How often 80 % intervals held what came, for origins without and with a common movement."""
    own = coverage[
        (coverage["family"] == family)
        & (coverage["protocol"] == "R")
        & coverage["bin"].isna()
        & (coverage["metric"] == metric)
        & (coverage["method"] == KRIGING)
        & (coverage["level"] == 0.8)
    ].set_index("group")
    parts = []
    for group, text in (("still", "had no common movement"), ("moving", "moved together")):
        if group in own.index:
            row = own.loc[group]
            parts.append(
                f"{_number(100 * row['coverage_inflated'], 0)} % where items {text} "
                f"({_count(int(row['num_targets']), 'forecast')} on {_count(int(row['num_clusters']), 'benchmark')})"
            )
    return f"The 80 % intervals of {METRICS[metric]} held {_join(parts)} of what came." if parts else None


def intervals_widened(forecasts: pd.DataFrame, family: str) -> str | None:
    """Metrics whose intervals earlier errors widen by a tenth or more."""
    own = forecasts[(forecasts["family"] == family) & (forecasts["method"] == KRIGING) & forecasts["subject"].isna()]
    factors = own.dropna(subset=["inflation"]).groupby("metric")[["inflation", "num_inflation"]].max()
    wide = [
        f"{METRICS[metric]} {_number(row['inflation'])} times (from {int(row['num_inflation'])} errors)"
        for metric, row in factors.iterrows()
        if row["inflation"] >= 1.1
    ]
    return f"Earlier errors widen the intervals of {_join(wide)}." if wide else None


def few_checkpoints(forecasts: pd.DataFrame, family: str) -> str | None:
    """That the last value is what is recommended, where there are fewer than five checkpoints to learn from."""
    own = forecasts[(forecasts["family"] == family) & forecasts["subject"].isna()]
    few = own[own["status"].str.contains(FEW, regex=False)]
    if few.empty:
        return None
    count = _count(int(few["num_models"].max()), "checkpoint")
    return (
        f"With {count} to learn from, fewer than five, the last value is the forecast to use: no law has "
        "shown itself better there."
    )


def single_items(reliability: pd.DataFrame, family: str, protocol: str = "S") -> str | None:
    """How good the probabilities of single items are, against the best of their rivals."""
    own = reliability[(reliability["family"] == family) & (reliability["protocol"] == protocol)]
    found = {}
    for method in ITEM_METHODS:
        rows = own[own["method"] == method]
        if len(rows):
            sums = (
                rows.assign(total=rows["brier"] * rows["num_items"]).groupby("benchmark")[["total", "num_items"]].sum()
            )
            found[method] = float((sums["total"] / sums["num_items"]).mean())
    if KRIGING not in found or len(found) < 2:
        return None
    rival = min((name for name in found if name != KRIGING), key=found.__getitem__)
    names = {
        "last": "right or wrong as under the last checkpoint",
        "last3": "the share of the last three checkpoints",
        "p_choices": "p_choices under the last checkpoint",
        "transitions": "transition frequencies",
    }
    verdict = "better than" if found[KRIGING] < found[rival] else "no better than"
    return (
        f"The probabilities of single items have a mean squared error of {found[KRIGING]:.3f} at the next size, "
        f"{verdict} the best simple one, {names[rival]} ({found[rival]:.3f})."
    )


def decisions_early(decisions: pd.DataFrame, group: str, labels: Mapping[str, str]) -> str | None:
    """On which benchmarks models can be told apart at the end, and which score orders them early on."""
    own = decisions[decisions["group"] == group]
    if own.empty:
        return None
    decidable = sorted(own[own["decidable"]]["benchmark"].unique())
    total = own["benchmark"].nunique()
    if not decidable:
        spread = f"on none of {total} benchmarks do their final accuracies"
        if total == 1:
            spread = f"on {_names(list(own['benchmark'].unique()), labels)} their final accuracies do not"
        return f"Which score orders the models early on is not decidable: {spread} spread by two standard errors."
    early = own[own["benchmark"].isin(decidable) & ~own["is_end"]].dropna(subset=["decision_accuracy"])
    if early.empty:
        return None
    share = early.groupby("metric")["decision_accuracy"].mean().sort_values(ascending=False, kind="stable")
    names = {**METRICS, "brier": "the Brier score", "margin_log": "the margin", "margin_scaled": "the scaled margin"}
    best, accuracy = share.index[0], share.get("accuracy", np.nan)
    pairs = int(early["num_pairs"].max())
    few = "one pair is" if pairs == 1 else f"at most {pairs} pairs that share their models are"
    larger = float(early["larger_wins"].mean()) if early["larger_wins"].notna().any() else None
    size = "" if larger is None else f"; that the larger model wins holds for {_number(100 * larger, 0)} %"
    rest = total - len(decidable)
    others = "the other one" if rest == 1 else f"the other {rest}"
    undecided = f" On {others} it is not decidable." if rest else ""
    against = "" if best == "accuracy" else f", accuracy itself {_number(100 * accuracy, 0)} %"
    return (
        f"On {_names(decidable, labels)}, {names[best]} before the end orders {_number(100 * share.iloc[0], 0)} % of "
        f"the pairs of models as accuracy does at the end{against}{size}; {few} a demonstration, no "
        f"evidence.{undecided}"
    )


def subsets_that_scale(subsets: pd.DataFrame, family: str) -> str | None:
    """Whether items chosen on small checkpoints follow compute better than others on the larger ones."""
    own = subsets[subsets["family"] == family]
    means = own.groupby("selection")["spearman_held_out"].mean()
    inside = own.groupby("selection")["spearman_inside"].mean()
    if not {"chosen", "random", "judged"} <= set(means.dropna().index):
        return None
    gain = means["chosen"] - means["random"]
    verdict = "little more than" if 0 < gain < 0.15 else "more than" if gain > 0 else "no more than"
    return (
        f"A quarter of the items, chosen by how they improve on the smaller half of the checkpoints, follows compute "
        f"there with a rank correlation of {_number(inside['chosen'], 2)} and on the larger half with "
        f"{_number(means['chosen'], 2)}, {verdict} random quarters ({_number(means['random'], 2)}); chosen where it is "
        f"judged it would show {_number(means['judged'], 2)}. Such a subset is no longer the benchmark."
    )


def clusters(summary: pd.DataFrame, family: str) -> str | None:
    """On how many benchmarks, and on one training run, all of this rests."""
    rows = _rolling(summary, family, "accuracy", None)
    rows = rows[rows["benchmark"].isna()]
    if rows.empty:
        return None
    count = int(rows["num_clusters"].max())
    return (
        f"Everything said over benchmarks rests on {count} of them; targets and origins of one run depend on each "
        "other, and nothing here says how another training run would move."
    )


def section(
    *,
    summary: pd.DataFrame,
    coverage: pd.DataFrame,
    backtests: pd.DataFrame,
    forecasts: pd.DataFrame,
    laws: pd.DataFrame,
    reliability: pd.DataFrame,
    decisions: pd.DataFrame,
    subsets: pd.DataFrame,
    scores: pd.DataFrame,
    family: str,
    labels: Mapping[str, str],
) -> list[str]:
    """The section's sentences in their order, without those that are not true here.

    Arguments are the tables backtest_summary, backtest_coverage, backtests, forecasts, choice_laws,
    forecast_reliability, decisions, item_subsets and scores.
    """
    found = [
        what_can_be_forecast(summary, laws, forecasts, family, labels),
        *(against_last(summary, family, "accuracy", name) for name in BINS),
        best_method(summary, family, "accuracy", _NEXT),
        nothing_beats_last(summary, family),
        jumps(backtests, scores, family, labels),
        intervals_hold(coverage, family),
        intervals_widened(forecasts, family),
        few_checkpoints(forecasts, family),
        laws_cancel(laws, family, labels),
        single_items(reliability, family),
        decisions_early(decisions, family, labels),
        subsets_that_scale(subsets, family),
        clusters(summary, family),
    ]
    return [sentence for sentence in found if sentence is not None]
