"""The page's sentences about one family: each is a claim, and written only where the tables bear it out.

Every function returns the sentence, or None where there is nothing true to say. Numbers are means over benchmarks of
the headline statistic (:mod:`elusive.report.headline`) unless a sentence says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from elusive.figures.changes import Change, mean_drops
from elusive.figures.data import Benchmark
from elusive.figures.states import FALLS, FOLLOWS
from elusive.figures.style import format_number, format_range, format_share, join
from elusive.report.headline import Strip, members_of

LOG_P, SHARE, BRIER, ACCURACY = "log_p_vocab_correct", "p_choices_correct", "brier", "accuracy"

#: Smallest mean correlation of which parts are spoken of, and smallest part.
LEAST, LEAST_PART = 0.05, 0.005
#: "Most" is more than the first of these shares, "nearly all" more than the second.
MOST, NEARLY_ALL = 0.5, 0.9
#: Share of the orders of compute beyond which on one side a benchmark's mean score follows compute, or falls with it.
LEVEL = 0.025
#: Standard errors of guessing beyond which an accuracy is better than it.
BEYOND = 2.0
#: A wrong choice follows compute "nearly as closely" as the right one with at least this share of its correlation.
NEARLY = 0.8
#: Smallest correlation of a wrong choice with the right one that is spoken of.
LEAST_MOVE = 0.1
#: Benchmarks named in a sentence of the first screen; more are only counted.
NAMED = 2


def on(found: Sequence[Benchmark], total: int, named: int = NAMED) -> str:
    """``on all 9 benchmarks``, ``on none of 9 benchmarks``, ``on 2 of 9 benchmarks (A and B)``; of one: ``on A``."""
    if total == 1:
        return f"on {found[0].label}" if found else "nowhere"
    if len(found) == total:
        return "on both benchmarks" if total == 2 else f"on all {total} benchmarks"
    if not found:
        return "on neither benchmark" if total == 2 else f"on none of {total} benchmarks"
    names = f" ({join([b.label for b in found])})" if len(found) <= named else ""
    return f"on {len(found)} of {total} benchmarks{names}"


def some(names: Sequence[str], most: int = 12) -> str:
    """All names, or the first of them and how many more there are."""
    if len(names) <= most:
        return join(names)
    return join([*names[: most - 1], f"{len(names) - most + 1} more"])


def what_follows(strip: Strip) -> str:
    """Where the log-likelihood of the right answer and accuracy follow compute, fall with it, or neither."""
    total = len(strip.lines)
    if not strip.conclusive:
        count = f"{strip.num_models} checkpoint{'s' * (strip.num_models != 1)}"
        if strip.least >= 1:
            return f"With {count} of one compute nothing can be said of what follows it."
        return (
            f"With {count} no score can be told from chance: even the best of all orders of their compute comes up by "
            f"luck 1 time in {round(1 / strip.least)}."
        )
    above, right = strip.with_state(LOG_P, FOLLOWS), strip.with_state(ACCURACY, FOLLOWS)
    falling = strip.with_state(LOG_P, FALLS)
    if total == 1:
        (line,) = strip.lines
        log_p, accuracy = line.level(LOG_P), line.level(ACCURACY)
        verbs = {FOLLOWS: "follows compute", FALLS: "falls with compute"}
        first = verbs.get(log_p.state, "does not follow compute beyond chance")
        second = verbs.get(accuracy.state, "does not follow compute beyond chance")
        text = f"On {line.benchmark.label} the log-likelihood of the right answer {first}"
        if first == second:
            return f"{text}, and so does accuracy." if log_p.state in verbs else f"{text}, nor does accuracy."
        return f"{text}; accuracy {second}."
    text = "The log-likelihood of the right answer follows compute "
    if len(above) == len(right) and {b.name for b in above} == {b.name for b in right}:
        text += f"{on(above, total)}, and so does accuracy" if above else f"{on(above, total)}, nor does accuracy"
    else:
        short = f"on {len(right)}" if right else "on none"
        if 0 < len(right) <= NAMED:
            short += f" ({join([b.label for b in right])})"
        text += f"{on(above, total)}, accuracy {short}"
    if falling:
        text += f"; the log-likelihood falls with compute {on(falling, total)}"
    return text + "."


_DONE = {1: "lost", -1: "gained"}


def where_it_is_lost(strip: Strip, attribution: pd.DataFrame) -> str | None:
    """What of the mean correlation is lost where wrong choices enter, and where only right or wrong is kept.

    Nothing is said to be lost or gained whose interval for other items has 0 in it. The second part is often no loss of
    the items that have a correlation of accuracy, but due to those that have none.
    """
    levels = [strip.average(metric) for metric in (LOG_P, SHARE, ACCURACY)]
    if None in levels or not strip.conclusive:
        return None
    first, share, last = levels
    over = " over the benchmarks" if len(strip.lines) > 1 else ""
    if not strip.with_state(LOG_P, FOLLOWS) or first < LEAST:
        number = format_number(first)
        if first <= -LEAST:
            return f"The mean correlation of the right answer's log-likelihood with compute is {number}{over}."
        hardly = "hardly any" if strip.with_state(LOG_P, FOLLOWS) else "no"
        return (
            f"There is {hardly} correlation to lose: it is {number}{over} already for the log-likelihood of the right "
            "answer."
        )
    start = f"Of a mean correlation of {format_number(first)}{over}, "
    if first - last < LEAST and abs(first - share) < LEAST:
        return f"{start}{format_number(last)} is left in accuracy."
    changes = mean_drops(attribution, [line.benchmark for line in strip.lines], strip.family, "spearman")
    steps = [changes.get(step) for step in ("renormalise", "threshold")]
    if any(change is None or not change.known for change in steps):
        return (
            f"{start}{format_number(share)} is left where the wrong choices enter, and {format_number(last)} where "
            "only right or wrong is kept; how other items would change that is not known."
        )

    def part(change: Change, number: float, more: str = "") -> str:
        if change.sign and abs(number) < LEAST_PART:
            return f"less than 0.01 {more if change.sign > 0 else ''}is {_DONE[change.sign]}"
        if change.sign:
            return f"{format_number(abs(number))} {more if change.sign > 0 else ''}is {_DONE[change.sign]}"
        if max(abs(change.low), abs(change.high)) < LEAST_PART:
            return f"nothing {more}is lost"
        return f"nothing {more}is lost beyond the interval for other items"

    first_part = part(steps[0], first - share)
    second_part = part(steps[1], share - last, "more " if steps[0].sign > 0 else "")
    if steps[0].sign > 0 and steps[1].sign > 0 and min(first - share, share - last) >= LEAST_PART:
        second_part = f"{format_number(share - last)} more"
    because = _by_undefined(strip, attribution, share - last) if steps[1].sign > 0 else ""
    return (
        f"{start}{first_part} where the wrong choices enter, and {second_part} where only right or wrong is "
        f"kept{because}."
    )


def _by_undefined(strip: Strip, attribution: pd.DataFrame, lost: float) -> str:
    """How much of what is ``lost`` at the last step is due to items whose accuracy has no correlation, in words."""
    rows = spearman_steps(attribution, strip.family)
    part = rows.loc[rows["step"] == "threshold", "drop_undefined"].mean()
    if lost < LEAST_PART or not part >= MOST * lost:
        return ""
    much = "nearly all of that" if part >= NEARLY_ALL * lost else "most of that"
    return f", {much} because items that every checkpoint answers alike count as 0"


def _quantity(mechanism: pd.DataFrame, family: str, benchmarks: Sequence[Benchmark], quantity: str) -> pd.DataFrame:
    rows = mechanism[(mechanism["family"] == family) & (mechanism["quantity"] == quantity)].set_index("benchmark")
    return rows.reindex([b.name for b in benchmarks])


def why(strip: Strip, mechanism: pd.DataFrame) -> str | None:
    """How closely wrong choices follow compute beside right ones."""
    benchmarks = [line.benchmark for line in strip.lines]
    right = _quantity(mechanism, strip.family, benchmarks, "correlation_correct")
    wrong = _quantity(mechanism, strip.family, benchmarks, "correlation_incorrect")
    if not strip.conclusive or right["value"].isna().any() or wrong["value"].isna().any():
        return None
    ours, theirs = float(right["value"].mean()), float(wrong["value"].mean())
    if not strip.with_state(LOG_P, FOLLOWS) or ours < LEAST:
        return None
    numbers = f"{format_number(theirs)} against {format_number(ours)}" + (" on average" if len(benchmarks) > 1 else "")
    clearly = [b for b in benchmarks if right.at[b.name, "value_low"] > wrong.at[b.name, "value_high"]]
    if theirs < NEARLY * ours:
        reach = np.hypot(right["value"] - right["value_low"], wrong["value_high"] - wrong["value"])
        text = f"Wrong choices follow compute less closely than right ones ({numbers})"
        if not ours - theirs > float(np.sqrt((reach**2).sum(skipna=False))) / len(benchmarks):
            text += ", though by no more than other items could change"
        return f"{text}."
    how = "nearly as closely as" if theirs < ours - LEAST_PART else "as closely as"
    how = how if theirs < ours + LEAST_PART else "at least as closely as"
    text = f"Wrong choices follow compute {how} right ones ({numbers})"
    if len(benchmarks) > 1 and 0 < len(clearly) <= NAMED:
        text += f", clearly less only on {join([b.label for b in clearly])}"
    return f"{text}."


def no_accuracy_yet(strip: Strip, scores: pd.DataFrame, members: Sequence[Sequence[str]]) -> str | None:
    """On which benchmarks no checkpoint of the family beats guessing."""
    own = members_of(scores, members)
    best = own.groupby("benchmark")["above_chance_se"].max()
    total = len(strip.lines)
    silent = [line.benchmark for line in strip.lines if best.get(line.benchmark.name, np.nan) <= BEYOND]
    beats = "beats guessing by two standard errors"
    nothing = f"no checkpoint {beats}: there is no accuracy above it to predict yet."
    if not silent:
        return None
    where = on(silent, total)
    return f"{where[0].upper()}{where[1:]} {nothing}"


def answered_alike(
    statistics: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, named: int | None = None
) -> str | None:
    """On which benchmarks most items are right at every checkpoint, or wrong at every one.

    More benchmarks than ``named``, if that is given, are only counted.
    """
    rows = statistics[
        (statistics["family"] == family)
        & (statistics["method"] == "spearman")
        & (statistics["metric"] == ACCURACY)
        & (statistics["nan_policy"] == "zero")
        & statistics["subject"].isna()
    ].set_index("benchmark")["nan_fraction"]
    found = [b for b in benchmarks if rows.get(b.name, 0.0) > MOST]
    if not found:
        return None
    shares = [float(rows[b.name]) for b in found]
    numbers = format_share(min(shares))
    if format_share(max(shares)) != numbers:
        numbers += f" to {format_share(max(shares))}"
    few = named is None or len(found) <= named or len(benchmarks) == 1
    where = f"On {some([b.label for b in found])}" if few else on(found, len(benchmarks)).capitalize()
    items = "all items" if min(shares) == 1 else f"most items ({numbers})"
    return (
        f"{where} {items} are answered alike by every checkpoint, always right or always "
        "wrong: their accuracy has no correlation and counts as 0."
    )


def first_screen(
    strip: Strip, frames: Mapping[str, pd.DataFrame], members: Sequence[Sequence[str]]
) -> list[tuple[str, str]]:
    """The sentences below the strip, at most four, each with the section that says more."""
    no_accuracy = no_accuracy_yet(strip, frames["scores"], members), "run"
    benchmarks = [line.benchmark for line in strip.lines]
    alike = answered_alike(frames["correlation_statistics"], benchmarks, strip.family, NAMED)
    found = [
        (what_follows(strip), "scores"),
        (where_it_is_lost(strip, frames["attribution"]), "lost"),
        (why(strip, frames["mechanism"]), "why"),
        no_accuracy if no_accuracy[0] else (alike, "lost"),
    ]
    return [(sentence, place) for sentence, place in found if sentence]


def which_score(predictability: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> str | None:
    """Where scores of right against wrong choices can be recommended, by Spearman, and why not elsewhere."""
    rows = predictability[
        (predictability["family"] == family)
        & (predictability["method"] == "spearman")
        & (predictability["kind"] == "comparison")
    ]
    if rows.empty:
        return None
    total = len(benchmarks)
    chosen = rows[rows["recommended"]]
    found = [b for b in benchmarks if (chosen["benchmark"] == b.name).any()]
    others = [b for b in benchmarks if b not in found]
    reasons: dict[str, int] = {}
    for b in others:
        best = rows[rows["benchmark"] == b.name].sort_values("rank")["reason"]
        if len(best) and not pd.isna(best.iloc[0]):
            reasons[str(best.iloc[0])] = reasons.get(str(best.iloc[0]), 0) + 1
    because = ""
    if reasons:
        most = max(reasons, key=lambda reason: reasons[reason])
        if len(reasons) == 1:
            because = f": {most}"
        elif reasons[most] > len(others) / 2:
            because = f", mostly ({reasons[most]} of {len(others)}) for this reason: {most}"
        else:
            because = ", for the reasons in the table"
    if not found:
        where = f"on {benchmarks[0].label}" if total == 1 else "on any benchmark"
        return f"No score of right against wrong choices can be recommended {where}{because}."
    counts = [int((chosen["benchmark"] == b.name).sum()) for b in found]
    ties = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    text = (
        f"Scores of right against wrong choices can be recommended {on(found, total, 4)}; {ties} of them cannot be "
        "told from the best."
        if max(counts) > 1
        else f"A score of right against wrong choices can be recommended {on(found, total, 4)}."
    )
    return f"{text} Elsewhere none can{because}." if others else text


def reference_text(strip: Strip, ceiling: pd.DataFrame) -> str | None:
    """How the validation loss, where it is known, follows compute, and along what the family varies at all."""
    flops = strip.reference["flops"]
    axis = ceiling.loc[ceiling["family"] == strip.family, "axis"]
    varies = {
        "tokens": "The checkpoints differ in tokens seen alone, not in size",
        "parameters": "The checkpoints differ in size alone, not in tokens seen",
        "both": "The checkpoints differ in size and in tokens seen",
        "neither": "The checkpoints differ neither in size nor in tokens seen",
    }
    first = f"{varies[axis.iloc[0]]}." if len(axis) else ""
    if flops is None:
        return first or None
    text = f"{first} The validation loss, negated, has a correlation of {format_number(flops)} with compute"
    known = {
        what: strip.reference[variable]
        for what, variable in (("tokens seen", "tokens"), ("size", "parameters"))
        if strip.reference[variable] is not None
    }
    if len(known) == 2:
        text += f", {join([f'{format_number(value)} with {what}' for what, value in known.items()])}"
    return f"{text}.".strip()


def pearson_range(strip: Strip, attribution: pd.DataFrame) -> str | None:
    """What exponentiating and renormalising take of the mean Pearson correlation under both orders of the steps.

    Nothing is said where less than :data:`LEAST` is lost in all, or nothing follows compute.
    """
    if not strip.with_state(LOG_P, FOLLOWS):
        return None
    ranges = step_ranges(attribution, strip.family, "pearson", "accuracy")
    wanted = [line.benchmark.name for line in strip.lines]
    parts = []
    steps = {"exponentiate": "exponentiating", "renormalise": "renormalising", "threshold": "thresholding"}
    for step, name in steps.items():
        rows = ranges[(ranges["step"] == step) & ranges["benchmark"].isin(wanted)]
        if len(rows) < len(wanted) or rows[["least", "most"]].isna().any(axis=None):
            return None
        parts.append(f"{name} {format_range(rows['least'].mean(), rows['most'].mean())}")
    total = ranges[(ranges["step"] == "total") & ranges["benchmark"].isin(wanted)]["most"].mean()
    if not total >= LEAST:
        return None
    spans = {
        step: ranges[ranges["step"] == step][["least", "most"]].mean(axis=0) for step in ("exponentiate", "renormalise")
    }
    widest = max(float(span["most"] - span["least"]) for span in spans.values())
    depends = "depends on which of the two comes first" if widest >= 0.01 else "hardly depends on which comes first"
    over = ", means over the benchmarks" if len(wanted) > 1 else ""
    return (
        f"By Pearson, which sees the size of probabilities, what the first two steps take {depends}: "
        f"{join(parts)}{over}."
    )


def step_ranges(attribution: pd.DataFrame, family: str, method: str, score: str) -> pd.DataFrame:
    """Range over both orders of the drop at each step, undefined correlations as 0: ``benchmark step least most``."""
    rows = attribution[
        (attribution["family"] == family)
        & (attribution["method"] == method)
        & (attribution["score"] == score)
        & (attribution["nan_policy"] == "zero")
        & (attribution["order"] == "exponentiate_first")
    ]
    return rows[["benchmark", "step", "drop_least", "drop_most"]].rename(
        columns={"drop_least": "least", "drop_most": "most"}
    )


def costly_steps(strip: Strip, attribution: pd.DataFrame) -> str | None:
    """Where log p_vocab follows compute: on how many benchmarks each step costs rank correlation, or gives some."""
    rows = spearman_steps(attribution, strip.family)
    following = strip.with_state(LOG_P, FOLLOWS)
    parts = []
    for step, what in (("renormalise", "bringing the wrong choices in"), ("threshold", "keeping only right or wrong")):
        own = rows[rows["step"] == step].set_index("benchmark")
        costs = [b for b in following if b.name in own.index and own.at[b.name, "drop_low"] > 0]
        gives = [b for b in following if b.name in own.index and own.at[b.name, "drop_high"] < 0]
        if costs:
            parts.append(f"{what} costs some {on(costs, len(following))}")
        if gives:
            parts.append(f"{what} gains some {on(gives, len(following))}")
    if not parts:
        return None
    among = "" if len(following) == len(strip.lines) else ", of those where log p_vocab follows compute"
    return f"Beyond the intervals for other items, {join(parts)}{among}."


def spearman_steps(attribution: pd.DataFrame, family: str) -> pd.DataFrame:
    """The rows of one family by Spearman, down to accuracy, undefined as 0, in one order (ranks do not see which)."""
    return attribution[
        (attribution["family"] == family)
        & (attribution["method"] == "spearman")
        & (attribution["score"] == "accuracy")
        & (attribution["nan_policy"] == "zero")
        & (attribution["order"] == "exponentiate_first")
    ]


def together(strip: Strip, mechanism: pd.DataFrame) -> str | None:
    """On how many benchmarks wrong choices move with the right one, and whether they still do at equal compute."""
    benchmarks = [line.benchmark for line in strip.lines]
    moves = _quantity(mechanism, strip.family, benchmarks, "comovement")
    partial = _quantity(mechanism, strip.family, benchmarks, "comovement_partial")

    def clear(rows: pd.DataFrame) -> list[Benchmark]:
        return [b for b in benchmarks if rows.at[b.name, "value_low"] > 0 and rows.at[b.name, "value"] >= LEAST_MOVE]

    with_right, still = clear(moves), clear(partial)
    if not strip.conclusive or not with_right:
        return None
    mean = float(moves.loc[[b.name for b in with_right], "value"].mean())
    total = len(benchmarks)
    text = (
        f"Over the checkpoints a wrong choice's log-likelihood moves with the right one's {on(with_right, total)}, "
        f"with a {'mean ' if len(with_right) > 1 else ''}correlation of {format_number(mean)}"
    )
    if {b.name for b in still} == {b.name for b in with_right}:
        text += ", and does so at equal compute as well"
    elif still:
        text += f"; at equal compute {on(still, total)}"
    else:
        text += "; at equal compute it does not"
    return f"{text}."


def loss_with_comovement(strip: Strip, mechanism: pd.DataFrame) -> str | None:
    """Where log p_vocab follows compute: whether items whose wrong choices move more with the right one lose more."""
    benchmarks = strip.with_state(LOG_P, FOLLOWS)
    rows = _quantity(mechanism, strip.family, benchmarks, "drop_with_comovement")
    more = [b for b in benchmarks if rows.at[b.name, "value_low"] > 0]
    less = [b for b in benchmarks if rows.at[b.name, "value_high"] < 0]
    total = len(benchmarks)
    parts = [f"lose more {on(more, total)}"] * bool(more) + [f"lose less {on(less, total)}"] * bool(less)
    if not parts:
        return None
    among = "" if total == len(strip.lines) else ", of those where log p_vocab follows compute"
    return f"Items whose wrong choices move more closely with the right one {join(parts)}{among}."


def opposite_means(headline: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> list[str]:
    """Scores whose mean over the items falls with compute while more than half of the items rise, or the reverse.

    Only means that shuffled compute gives in at most 2.5 % of its orders are spoken of.
    """
    rows = headline[(headline["family"] == family) & (headline["method"] == "spearman")]
    rows = rows.set_index(["benchmark", "metric"])
    names = {LOG_P: "log p_vocab", SHARE: "p_choices", BRIER: "−Brier", ACCURACY: "accuracy"}
    sentences = []
    for verb, other, sign in (("falls", "rise", 1), ("rises", "fall", -1)):
        found = []
        for metric, name in names.items():
            where = []
            for b in benchmarks:
                if (b.name, metric) not in rows.index:
                    continue
                row = rows.loc[(b.name, metric)]
                median, mean, share = row["median"], row["benchmark_correlation"], row["benchmark_p_value"]
                beyond = not pd.isna(share) and (share >= 1 - LEVEL if sign > 0 else share <= LEVEL)
                if beyond and sign * median > 0 and sign * mean < 0:
                    where.append(f"{b.label} ({format_number(mean)}; median item {format_number(median)})")
            if where:
                found.append(f"of {name} on {some(where, 6)}")
        if found:
            sentences.append(
                f"The mean score {verb} with compute although more than half of the items {other}, {'; '.join(found)}: "
                f"the items that do not {other} outweigh the others."
            )
    return sentences


def one_by_chance(null_bands: pd.DataFrame, family: str, label: str) -> str | None:
    """What a single item's correlation is by chance with the family's checkpoints."""
    rows = null_bands[(null_bands["family"] == family) & (null_bands["method"] == "spearman")]
    if rows.empty or pd.isna(rows["q025"].iloc[0]):
        return None
    band = rows.iloc[0]
    above = float(band["fraction_above_075"])
    return (
        f"With the {band['num_models']} checkpoints of “{label}”, the Spearman correlation of one item whose score has "
        f"nothing to do with compute is between {format_number(band['q025'])} and {format_number(band['q975'])} in 95 "
        f"% of cases, and above 0.75 in {format_share(above, 1) if above >= 5e-4 else 'less than one in a thousand'}."
    )


def beyond_chance(strip: Strip) -> str | None:
    """On how many benchmarks each score of the strip is above the band of shuffled compute, within it or below."""
    if not strip.conclusive:
        return None
    total = len(strip.lines)
    names = {LOG_P: "log p_vocab", SHARE: "p_choices", BRIER: "−Brier", ACCURACY: "accuracy"}
    parts = []
    for metric, name in names.items():
        above, below = strip.with_state(metric, FOLLOWS), strip.with_state(metric, FALLS)
        parts.append(f"{len(above)} for {name}" + (f" (below it on {len(below)})" if below else ""))
    what = f"{join(parts)}, of {total} benchmark{'s' * (total != 1)}"
    luck = f"; by luck alone each score would be on about {LEVEL * total:.1f}" if LEVEL * total >= 0.5 else ""
    return f"The mean correlation is above what 97.5 % of shuffles of compute give on {what}{luck}."
