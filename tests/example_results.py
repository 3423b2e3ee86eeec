"""What the README shows of the default run: a small table of its results, a figure, and the report's first screen.

    python tests/example_results.py [RESULTS]

reads a finished default run (`results`), and writes `workflow/docs/example_results.csv` with date and machine of the
run, `workflow/report/hero.png` and, with a Chromium, `workflow/report/first_screen.png`; the README's answer follows
from the CSV, and a test compares them.
"""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

TABLE = "workflow/docs/example_results.csv"
RESULTS = ROOT / TABLE
README = ROOT / "README.md"
#: The README's part between these lines is made from the table.
BEGIN, END = f"<!-- from {TABLE} -->", "<!-- until here -->"
SCORES = {
    "log_p_vocab_correct": "log p_vocab",
    "p_choices_correct": "p_choices",
    "brier": "−Brier",
    "accuracy": "accuracy",
}
_COLUMNS = ("date", "machine", "quantity", "benchmark", "label", "metric", "value", "low", "high", "state")


def read(path: Path = RESULTS) -> list[dict[str, str]]:
    """The rows of the table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(value: float) -> str:
    return re.sub(r"^-", "−", f"{0.0 if round(value, 2) == 0 else value:.2f}")


def _of(rows: Sequence[dict[str, str]], quantity: str, metric: str | None = None) -> dict[str, dict[str, str]]:
    return {r["benchmark"]: r for r in rows if r["quantity"] == quantity and metric in (None, r["metric"])}


def _mean(rows: dict[str, dict[str, str]]) -> float:
    return sum(float(row["value"]) for row in rows.values()) / len(rows)


def answer(rows: Sequence[dict[str, str]]) -> list[str]:
    """The README's three sentences; what would no longer be true of the table is an error here."""
    means = {metric: _of(rows, "mean_spearman", metric) for metric in SCORES}
    follows = {metric: sum(r["state"] == "follows" for r in own.values()) for metric, own in means.items()}
    total = len(means["accuracy"])
    first, share, last = (_mean(means[m]) for m in ("log_p_vocab_correct", "p_choices_correct", "accuracy"))
    assert follows["log_p_vocab_correct"] > follows["p_choices_correct"] > follows["accuracy"] >= 1
    assert first - share > share - last > 0, "the larger loss is where the wrong choices enter"
    right, wrong = (_mean(_of(rows, f"correlation_{what}")) for what in ("correct", "incorrect"))
    assert 0.85 * right < wrong < right
    beyond = _of(rows, "standard_errors_above_guessing")
    silent = sum(float(row["value"]) <= 2 for row in beyond.values())
    assert silent > total / 2
    return [
        f"The log-likelihood of the right answer follows compute on {follows['log_p_vocab_correct']} of {total} "
        f"benchmarks, its share among the choices on {follows['p_choices_correct']}, "
        f"accuracy on {follows['accuracy']}.",
        f"Of a mean correlation of {_number(first)}, {_number(first - share)} is lost where the wrong choices enter, "
        f"since these follow compute nearly as closely as the right one ({_number(wrong)} against {_number(right)}), "
        f"and {_number(share - last)} more where only right or wrong is kept.",
        f"These models are tiny: on {silent} of {total} benchmarks none of them beats guessing by two standard errors, "
        "so that there is no accuracy to predict yet.",
    ]


def block(rows: Sequence[dict[str, str]]) -> str:
    """What stands between :data:`BEGIN` and :data:`END`."""
    loss = _number(float(_of(rows, "loss_spearman")[""]["value"]))
    about = (
        "Numbers are means over items of the Spearman correlation with compute, undefined ones as 0; minus the loss "
        f"has {loss}. Run of {rows[0]['date']} on {rows[0]['machine']}: [example_results.csv]({TABLE})."
    )
    return "\n".join([*textwrap.wrap(" ".join(answer(rows)), 120), "", *textwrap.wrap(about, 120)])


def collect(results: Path) -> list[dict[str, Any]]:
    """The rows of a finished run, from its tables and the record of it."""
    import pandas as pd

    from elusive.figures.hero import SCORES as DRAWN

    record = json.loads((results / "run.json").read_text(encoding="utf-8"))
    machine = f"{record['machine']['cores']} cores of {record['machine']['processor']}"
    about = {"date": record["written"][:10], "machine": machine}
    drawn = pd.read_csv(results / "figures/hero.csv")
    labels = dict(zip(drawn["benchmark"], drawn["label"], strict=True))
    family = "ladder"
    rows: list[dict[str, Any]] = []
    assert list(DRAWN) == list(SCORES)
    for r in drawn.to_dict("records"):
        ends = {"value": r["mean"], "low": r["shuffled_low"], "high": r["shuffled_high"], "state": r["state"]}
        keys = {name: r[name] for name in ("benchmark", "label", "metric")}
        rows.append(about | {"quantity": "mean_spearman"} | keys | ends)
    ceiling = pd.read_parquet(results / "tables/ceiling.parquet").set_index(["family", "method", "variable"])
    loss = ceiling.at[(family, "spearman", "flops"), "correlation"]
    rows.append(about | {"quantity": "loss_spearman", "benchmark": "", "metric": "validation_loss", "value": loss})
    mechanism = pd.read_parquet(results / "tables/mechanism.parquet")
    own = mechanism[mechanism["family"] == family].set_index(["benchmark", "quantity"])
    scores = pd.read_parquet(results / "tables/scores.parquet")
    for benchmark, label in labels.items():
        keys = about | {"benchmark": benchmark, "label": label}
        for quantity in ("correlation_correct", "correlation_incorrect"):
            found = own.loc[(benchmark, quantity)]
            ends = {"value": found["value"], "low": found["value_low"], "high": found["value_high"]}
            rows.append(keys | {"quantity": quantity, "metric": "log_p_vocab"} | ends)
        best = scores.loc[scores["benchmark"] == benchmark, "above_chance_se"].max()
        rows.append(keys | {"quantity": "standard_errors_above_guessing", "metric": "accuracy", "value": best})
    return rows


def _write(rows: Sequence[dict[str, Any]]) -> None:
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()})


def _photograph(report: Path, picture: Path) -> None:
    from browser import Browser, find

    program = find()
    if program is None:
        print("no Chromium here: the picture of the first screen stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(program, Path(folder))
        try:
            with browser.open(report.resolve().as_uri(), 1180, 900) as page:
                time.sleep(1)
                found = page.send("Page.captureScreenshot", format="png")
                picture.write_bytes(base64.b64decode(found["data"]))
        finally:
            browser.close()


def main(results: Path) -> None:
    """Write the table, the pictures and the README's part of it."""
    _write(collect(results))
    shutil.copy(results / "figures/hero.png", ROOT / "workflow/report/hero.png")
    _photograph(results / "report.html", ROOT / "workflow/report/first_screen.png")
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{block(read())}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "results"))
