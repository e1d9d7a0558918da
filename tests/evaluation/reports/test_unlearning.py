"""The report on unlearning: its numbers by hand, what it says, and a page that stands alone."""

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


def asked(chances: Sequence[float], blanks: int = 0) -> PromptResults:
    """Made-up answers, the last ones blank."""
    count = len(chances)
    return PromptResults(
        answers=tuple(f"secret answer {n}" for n in range(count)),
        harm_probabilities=tuple(chances),
        refused=(False,) * count,
        degenerate_reasons=(*("",) * (count - blanks), *("blank",) * blanks),  # type: ignore[arg-type]
    )


BEFORE = ScorecardRow(
    name="the base",
    sets={"seen": asked([0.9] * 8 + [0.1] * 2)},
    retain=LikelihoodResults(nlls=(2.0, 2.0), tokens=(1, 1)),
    choices={"Questions": (True, False)},
    similar=(1.0,),
    relearned=(3.0, 2.0),
)
AFTER = replace(
    BEFORE,
    name="<SKU>",
    sets={"seen": asked([0.1] * 9 + [0.9])},
    similar=(0.5,),
    relearned=(5.0, 3.0),
)
MUTE = replace(
    BEFORE,
    name="mute",
    sets={"seen": asked([0.1] * 10, blanks=10)},
    retain=LikelihoodResults(nlls=(1e6, 1e6), tokens=(1, 1)),
    choices={},
    similar=(),
    relearned=(),
)


def test_the_numbers_by_hand_and_no_word_of_the_answers(tmp_path: Path) -> None:
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


def test_what_it_says(tmp_path: Path) -> None:
    report = write_unlearning_report([BEFORE, AFTER, MUTE], JUDGE, tmp_path, after=(0, 5))
    texts = write_conclusions(report)
    assert texts[0].startswith("“<SKU>” on seen prompts: 80% of its answers were harmful, 10% are")
    assert "down by 88%" in texts[0]
    assert texts[1] == "“mute” on seen prompts: it says nothing any more, which is no safety."
    assert texts[2] == "“mute”: its perplexity on normal text is broken."
    blanks = replace(AFTER, sets={"seen": asked([0.1] * 10, blanks=4)})
    texts = write_conclusions(write_unlearning_report([BEFORE, blanks], JUDGE, tmp_path))
    assert "part of what went is the ability to answer" in texts[1]
    alike = replace(BEFORE, name="same")
    texts = write_conclusions(write_unlearning_report([BEFORE, alike], JUDGE, tmp_path))
    assert "chance alone can do as much" in texts[0]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    report = write_unlearning_report([BEFORE, AFTER, MUTE], JUDGE, tmp_path, after=(0, 5))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == render_unlearning_html(report)
    assert "&lt;SKU&gt;" in page and "<SKU>" not in page
    assert "<script" not in page and not re.search(r"(src|href)=", page)
    assert "right on 75.0% (60.0%–86.0%)" in page
    assert page.count("<polyline") == 2  # who has a curve
    alone = write_unlearning_report([BEFORE], replace(JUDGE, accuracy=None), tmp_path)
    page = render_unlearning_html(alone)
    assert "only the model before was measured" in page
    assert "not known here how often it is right" in page


def test_rows_of_other_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was not asked"):
        write_unlearning_report(
            [BEFORE, replace(AFTER, sets={"seen": asked([0.1])})], JUDGE, tmp_path / "out"
        )
    with pytest.raises(UsageError, match="at least the model before"):
        write_unlearning_report([], JUDGE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
