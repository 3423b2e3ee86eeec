"""The whole page of worlds in which its usual sentences are false: none of them stands there, and nothing is absurd."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from elusive.report.report import write_report
from synthetic_run import SyntheticRun, report_inputs
from worlds import WORLDS

SCORES = ("log_p_vocab_correct", "p_choices_correct", "brier", "accuracy")


class Page:
    """A world's run and what its page says: ``text`` of all, ``parts`` by section, without scripts and tags."""

    def __init__(self, run: SyntheticRun, page: str) -> None:
        self.run, self.page = run, page
        seen = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
        self.text = self._plain(seen)
        self.parts = {
            name: self._plain(part)
            for name, part in re.findall(r'<section id="(\w+)"[^>]*>(.*?)</section>', seen, re.S)
        }

    @staticmethod
    def _plain(part: str) -> str:
        # Inline tags leave no space behind.
        part = re.sub(r"</?(?:abbr|a|b|i|s|span|strong)\b[^>]*>", "", part)
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", part)))

    def table(self, name: str) -> pd.DataFrame:
        """A summary table of the run."""
        return pq.read_table(self.run.table(name)).to_pandas()


@pytest.fixture(params=WORLDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def page(name: str, open_page: Callable[[str], Page]) -> Page:
    return open_page(name)


@pytest.fixture(scope="module")
def open_page(
    shared_run: Callable[..., SyntheticRun], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Page]:
    """The page of a world, by its name."""

    @functools.cache
    def page_of(name: str) -> Page:
        benchmarks, items, world = WORLDS[name]
        run = shared_run(items, benchmarks, world=world)
        output = tmp_path_factory.mktemp(name) / "report.html"
        write_report(**report_inputs(run, output.parent / "figures"), output=output)
        return Page(run, output.read_text(encoding="utf-8"))

    return page_of


def test_no_text_is_absurd(page: Page) -> None:
    assert not re.findall(r"\b(nan|NaN|None|inf|null|undefined undefined)\b|−0\.0+(?!\d)|\d[eE]−\d", page.text)
    assert not re.search(r"\b1 (benchmarks|checkpoints|models|items)\b", page.text)
    assert not re.search(r"−\d[\d.]* (is lost|more is lost|is gained)", page.text), "a loss has no sign"
    for share in re.findall(r"(\d+) %", page.text):
        assert int(share) <= 100


def test_the_strip_is_the_headline_table(page: Page) -> None:
    table = page.table("headline")
    strip = page.page.split('id="strip"')[1].split("</table>")[0]
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman")].set_index(["benchmark", "metric"])
    rows = re.findall(r'<tr data-benchmark="(\w+)">(.*?)</tr>', strip, re.S)
    assert {benchmark for benchmark, _ in rows} == set(page.run.benchmarks)
    for benchmark, cells in rows:
        found = re.findall(r'<td class="(\w+)" data-v="([^"]+)"', cells)
        assert len(found) == len(SCORES)
        for metric, (state, value) in zip(SCORES, found, strict=True):
            row = own.loc[(benchmark, metric)]
            assert float(value) == pytest.approx(row["mean"], abs=1e-6)
            known = row["above_shuffled"] is not None and not pd.isna(row["above_shuffled"])
            expected = (
                "unknown"
                if not known
                else "follows"
                if row["above_shuffled"]
                else "falls"
                if row["below_shuffled"]
                else "chance"
            )
            assert state == expected


def test_states_in_words_are_those_of_the_table(page: Page) -> None:
    table = page.table("headline")
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman")]
    above = own[own["above_shuffled"].fillna(False).astype(bool)].groupby("metric").size()
    total = len(page.run.benchmarks)
    counts = [int(above.get(metric, 0)) for metric in ("log_p_vocab_correct", "accuracy")]
    overview = page.parts["overview"]
    if own["above_shuffled"].isna().all():
        assert (
            "no score can be told from chance" in overview
            and "follows compute on" not in overview.split("What is measured")[0].split("order")[0]
        )
    elif total > 1:
        words = {
            0: "neither benchmark" if total == 2 else f"none of {total}",
            total: "both" if total == 2 else f"all {total}",
        }
        where = words.get(counts[0], f"{counts[0]} of {total}")
        assert f"The log-likelihood of the right answer follows compute on {where}" in overview


def test_losses_add_up(page: Page) -> None:
    found = re.search(
        r"Of a mean correlation of ([\d.−]+)(?: over the benchmarks)?, (.*?) where the wrong choices enter, and (.*?) "
        r"where only right or wrong is kept",
        page.parts["overview"],
    )
    table = page.table("attribution")
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman") & (table["score"] == "accuracy")]
    own = own[(own["nan_policy"] == "zero") & (own["order"] == "exponentiate_first")]
    if found is None:
        assert "is lost where" not in page.parts["overview"]
        return
    first = own[own["step"] == "exponentiate"]["correlation_before"].mean()
    assert float(found[1].replace("−", "-")) == pytest.approx(first, abs=0.0051)
    for said, step in ((found[2], "renormalise"), (found[3], "threshold")):
        rows = own[own["step"] == step]
        drop = rows["drop"].mean()
        below, above = (((rows[end] - rows["drop"]) ** 2).sum() ** 0.5 / len(rows) for end in ("drop_low", "drop_high"))
        beyond = -1 if -drop > above else int(drop > below)
        if said.endswith(" is left"):
            assert rows["drop_low"].isna().any()
        elif said.startswith("nothing"):
            assert beyond == 0
        else:
            amount, verb = re.fullmatch(r"([\d.]+)(?: (?:more)?)?(?: ?is (lost|gained))?", said).groups()
            assert beyond == (-1 if verb == "gained" else 1)
            assert float(amount) == pytest.approx(abs(drop), abs=0.011)


def test_recommendations_are_those_of_the_table(page: Page) -> None:
    table = page.table("predictability")
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman") & (table["kind"] == "comparison")]
    chosen = own[own["recommended"]]["benchmark"].nunique()
    part = page.parts["scores"]
    if not chosen:
        assert "No score of right against wrong choices can be recommended" in part
    else:
        assert "can be recommended on" in part and "No score of right" not in part


def test_titles_hold_for_their_items(page: Page) -> None:
    """“All choices get likelier” needs every choice's correlation above chance, and so on."""
    from elusive.report.report import unpack_text

    for packed in re.findall(r'<script type="text/plain" id="items-\d+">([^<]+)</script>', page.page):
        run = unpack_text(packed)
        for family, about in run["families"].items():
            for card in run["cards"]:
                own = card["families"][family]
                values = np.array([np.nan if v is None else v for v in own["spearman"]])
                up, down = values > about["threshold"], values < -about["threshold"]
                text = own["title"]
                if about["threshold"] >= 1:
                    assert text == "Too few checkpoints to tell a change from chance"
                    continue
                assert (
                    text.startswith(("All", "Both"))
                    and "choices get likelier" in text
                    and "wrong" not in text.split(",")[0].split(":")[0]
                ) == bool(up.all())
                assert ("No choice changes" in text) == (not up.any() and not down.any())
                share = own["correlations"]["p_choices_correct"]
                rises, falls = (share or 0) > about["threshold"], (share or 0) < -about["threshold"]
                assert text.endswith("rises") == rises and text.endswith("falls") == falls


def test_nothing_is_said_to_follow_where_nothing_does(open_page: Callable[[str], Page]) -> None:
    page = open_page("no_signal")
    assert "follows compute on neither benchmark, nor does accuracy" in page.parts["overview"]
    assert "There is no correlation to lose" in page.parts["lost"]
    for claim in (
        "By Pearson, which",
        "costs some",
        "Wrong choices follow compute",
        "lose more",
        "moves with the right",
    ):
        assert claim not in page.text, claim
    assert "it is there on neither benchmark" in page.parts["overview"]


def test_falling_scores_are_said_to_fall(open_page: Callable[[str], Page]) -> None:
    page = open_page("falling")
    assert "the log-likelihood falls with compute on both benchmarks" in page.parts["overview"]
    assert re.search(r"with compute is −0\.\d\d over the benchmarks", page.parts["lost"])
    for claim in ("is lost where", "By Pearson, which", "Wrong choices follow compute"):
        assert claim not in page.text, claim
    assert "it is there on neither benchmark" in page.parts["overview"]
    assert "Red: less than chance gives" in page.parts["overview"] and "Blue" not in page.parts["overview"]


def test_a_solved_benchmark_has_no_accuracy_to_follow(open_page: Callable[[str], Page]) -> None:
    page = open_page("solved")
    assert "all items are answered alike by every checkpoint" in page.parts["overview"]
    assert "nearly all of that because items that every checkpoint answers alike count as 0" in page.parts["overview"]
    assert "beats guessing" not in page.text and "no accuracy" not in page.text


def test_four_checkpoints_can_tell_nothing(open_page: Callable[[str], Page]) -> None:
    for name, luck in {"four_checkpoints": 24, "two_checkpoints": 2}.items():
        page = open_page(name)
        assert f"comes up by luck 1 time in {luck}." in page.parts["overview"]
        assert (
            "Outlined: too few checkpoints to tell" in page.parts["overview"] and "Blue" not in page.parts["overview"]
        )
        assert "There are too few checkpoints to tell: any order could come by chance." in page.parts["overview"]
        for claim in (
            "is lost where",
            "Wrong choices follow",
            "moves with the right one",
            "costs some",
            "lose more",
            "is there on",
        ):
            assert claim not in page.text, (name, claim)


def test_one_benchmark_is_not_counted(open_page: Callable[[str], Page]) -> None:
    page = open_page("one_benchmark")
    assert "On SciQ the log-likelihood of the right answer follows compute" in page.parts["overview"]
    assert (
        "over the benchmarks" not in page.text and "on average" not in page.text and "both benchmarks" not in page.text
    )
    assert 'data-filter="benchmark"' not in page.page.split("<main>")[0], "there is nothing to choose"


def test_unequal_choices_have_their_own_guessing(open_page: Callable[[str], Page]) -> None:
    page = open_page("unequal_choices")
    assert f"{(1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4:.3f}" in page.parts["run"]


def test_skill_is_recommended(open_page: Callable[[str], Page]) -> None:
    page = open_page("skilled")
    assert "can be recommended on both benchmarks" in page.parts["scores"]
    assert "and so does accuracy" in page.parts["overview"] and "beats guessing" not in page.parts["overview"]
    assert "Wrong choices follow compute less closely than right ones" in page.parts["why"]
