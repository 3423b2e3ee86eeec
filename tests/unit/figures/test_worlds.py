"""Captions of worlds in which the usual sentences are false: nothing absurd, and nothing that the tables deny."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import synthetic_run
from elusive.figures import accuracy, attribution, benchmark, hero, loss, mechanism, statistics
from synthetic_run import PER_BENCHMARK, draw_figure
from worlds import WORLDS

ALONE = ("hero", "statistics/spearman", "statistics/pearson", "attribution/spearman", "attribution/pearson")
ALONE += ("mechanism", "accuracy", "scaling", "loss")


@pytest.fixture(params=WORLDS)
def captions(
    request: pytest.FixtureRequest,
    shared_run: Callable[..., synthetic_run.SyntheticRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, synthetic_run.SyntheticRun, dict[str, str]]:
    """A world's name, its run, and the captions of its figures; the figures are made but not drawn."""
    names, items, world = WORLDS[request.param]
    run = shared_run(items, names, world=world)
    texts: dict[str, str] = {}

    def keep(plot: object, text: str, outputs: dict[str, Path], names: object = None) -> None:
        texts[str(outputs["caption"].relative_to(tmp_path).with_suffix(""))] = text

    for module in (accuracy, attribution, benchmark, hero, loss, mechanism, statistics):
        monkeypatch.setattr(module, "save_figure", keep)
    kinds = [kind for kind in PER_BENCHMARK if kind != "families" or len(run.families) > 1]
    for figure in [*(f"{kind}/{names[0]}" for kind in kinds), *ALONE]:
        draw_figure(run, figure, tmp_path)
    return request.param, run, texts


@pytest.mark.slow
def test_captions_hold_in_every_world(captions: tuple[str, synthetic_run.SyntheticRun, dict[str, str]]) -> None:
    name, run, texts = captions
    assert len(texts) >= len(PER_BENCHMARK) + len(ALONE) - 1
    for figure, text in texts.items():
        found = re.findall(r"\bnan\b|\bNone\b|\binf\b|−0\.00?(?!\d)|\d e[−-]?\d|  |\.\.|: \.|\( |;\.", text)
        assert not found, (figure, found, text)
        assert not re.search(r"(loses|gains|falls by|rises by) −", text), (figure, "a loss has no sign", text)
        assert not re.search(r"\b1 (benchmarks|models|subjects)\b", text), (figure, text)
        assert text.rstrip().endswith((".", "…")), figure
        assert "What to see: " in text, figure

    headline = pq.read_table(run.table("headline")).to_pandas()
    own = headline[(headline["family"] == "ladder") & (headline["method"] == "spearman")]
    if own["above_shuffled"].isna().all():
        assert "too few checkpoints to tell" in texts["hero"], name
    else:
        for metric, label in hero.SCORES.items():
            rows = own[own["metric"] == metric]
            count = int(rows["above_shuffled"].fillna(False).astype(bool).sum())
            assert f"{count} of {len(run.benchmarks)} for {' '.join(label.split())} (" in texts["hero"], name

    table = pq.read_table(run.table("attribution")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["nan_policy"] == "zero") & (table["score"] == "accuracy")]
    own = own[(own["method"] == "spearman") & (own["order"] == "exponentiate_first") & (own["step"] == "total")]
    drop = own["drop"].mean()
    reach = [((own[end] - own["drop"]) ** 2).sum() ** 0.5 / len(own) for end in ("drop_low", "drop_high")]
    said = "the whole way from log p_vocab to accuracy"
    verb = "loses" if drop > reach[0] else "gains" if -drop > reach[1] else None
    for method in ("spearman", "pearson"):
        found = re.search(rf"{said} (loses|gains)", texts[f"attribution/{method}"])
        assert (found[1] if found else None) == verb, name
        if verb and abs(drop) >= attribution.LEAST:
            assert f"{said} {verb} {abs(drop):.2f}" in texts[f"attribution/{method}"], name
