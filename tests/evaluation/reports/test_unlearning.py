"""The report on unlearning: numbers computed by hand, conclusions, and the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.errors import UsageError
from idiolect.evaluation.reports.unlearning import write_unlearning_report
from idiolect.evaluation.reports.unlearning_html import render_unlearning_html, write_conclusions
from idiolect.judging.protocol import JudgeInfo
from idiolect.scorecard.scorer import LikelihoodResults, PromptResults, ScorecardRow

JUDGE = JudgeInfo(
    name="a judge",
    pairs=40,
    prompts=20,
    accuracy=0.75,
    interval=(0.6, 0.86),
    chance=0.5,
    found=0.8,
    spared=0.7,
)


def make_results(chances: Sequence[float], blanks: int = 0) -> PromptResults:
    """Return fake results with these harm probabilities; the last ``blanks`` answers are blank."""
    count = len(chances)
    return PromptResults(
        answers=tuple(f"secret answer {n}" for n in range(count)),
        harm_probabilities=tuple(chances),
        refused=(False,) * count,
        degenerate_reasons=(*("",) * (count - blanks), *("blank",) * blanks),  # type: ignore[arg-type]
    )


BEFORE = ScorecardRow(
    name="the base",
    sets={"seen": make_results([0.9] * 8 + [0.1] * 2)},
    retain=LikelihoodResults(nlls=(2.0, 2.0), tokens=(1, 1)),
    choices={"Questions": (True, False)},
    similar=(1.0,),
    relearned=(3.0, 2.0),
)
AFTER = replace(
    BEFORE,
    name="<SKU>",
    sets={"seen": make_results([0.1] * 9 + [0.9])},
    similar=(0.5,),
    relearned=(5.0, 3.0),
)
MUTE = replace(
    BEFORE,
    name="mute",
    sets={"seen": make_results([0.1] * 10, blanks=10)},
    retain=LikelihoodResults(nlls=(1e6, 1e6), tokens=(1, 1)),
    choices={},
    similar=(),
    relearned=(),
)


def test_write_unlearning_report_has_numbers_but_no_answers(tmp_path: Path) -> None:
    report = write_unlearning_report([BEFORE, AFTER, MUTE], JUDGE, tmp_path, after=(0, 5))
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    first, second, third = report["models"]
    assert first["sets"][0]["harmful"]["rate"] == 0.8
    assert first["sets"][0]["reduction"] is None
    assert second["sets"][0]["reduction"] == pytest.approx(1 - 0.1 / 0.8)
    assert second["retain_cost"] == 1 and second["similar"] == 0.5
    assert second["sets"][0]["paired"]["wins"] == 8 and second["sets"][0]["paired"]["losses"] == 1
    assert third["sets"][0]["harmful"]["rate"] is None and third["retain_cost"] is None
    for name in ("report.json", "report.html"):
        assert "secret" not in (tmp_path / name).read_text(encoding="utf-8")


def test_write_conclusions_describes_each_model(tmp_path: Path) -> None:
    report = write_unlearning_report([BEFORE, AFTER, MUTE], JUDGE, tmp_path, after=(0, 5))
    texts = write_conclusions(report)
    assert texts[0].startswith(
        "“<SKU>” on seen prompts: 80% of the answers were harmful before, 10% are now"
    )
    assert "down by 88%" in texts[0]
    assert texts[1] == (
        "“mute” on seen prompts: it no longer gives any meaningful answer; this is not safety."
    )
    assert texts[2] == "“mute”: its perplexity on normal text is infinite."
    blanks = replace(AFTER, sets={"seen": make_results([0.1] * 10, blanks=4)})
    texts = write_conclusions(write_unlearning_report([BEFORE, blanks], JUDGE, tmp_path))
    assert "the model lost part of its ability to answer" in texts[1]
    alike = replace(BEFORE, name="same")
    texts = write_conclusions(write_unlearning_report([BEFORE, alike], JUDGE, tmp_path))
    assert "chance alone can explain it" in texts[0]


def test_render_unlearning_html_escapes_and_draws_curves(tmp_path: Path) -> None:
    report = write_unlearning_report([BEFORE, AFTER, MUTE], JUDGE, tmp_path, after=(0, 5))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == render_unlearning_html(report)
    assert "&lt;SKU&gt;" in page and "<SKU>" not in page
    assert "<script" not in page and not re.search(r"(src|href)=", page)
    assert "accuracy 75.0% (60.0%–86.0%)" in page
    assert page.count("<polyline") == 2  # the models with a relearning curve
    alone = write_unlearning_report([BEFORE], replace(JUDGE, accuracy=None), tmp_path)
    page = render_unlearning_html(alone)
    assert "only the original model was measured" in page
    assert "its accuracy was not measured" in page


def test_write_unlearning_report_rejects_missing_or_different_prompts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was not measured on the prompts of 'seen'"):
        write_unlearning_report(
            [BEFORE, replace(AFTER, sets={"seen": make_results([0.1])})], JUDGE, tmp_path / "out"
        )
    with pytest.raises(UsageError, match="at least the original model"):
        write_unlearning_report([], JUDGE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
