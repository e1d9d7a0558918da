"""``idiolect share`` says which items leak and what to do, without any of their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.cli.commands.share import print_sharing
from idiolect.pieces.sharing.candidates import TrainedItem
from idiolect.pieces.sharing.leakage import LeakedItems
from idiolect.pieces.sharing.run import ShareSummary
from idiolect.pieces.sharing.sharing import SharingOutcome


def make_summary(outcome: str) -> ShareSummary:
    items = tuple(TrainedItem(id=f"mail-{n}", number=n + 1, time=None) for n in range(12))
    leak = LeakedItems(artifact="pieces", what="the adapter says a phone number", items=items)
    about = {"held_in": 12, "held_out": 4, "adapter_leaks": 1, "pieces_leaks": 1}
    finding = SharingOutcome(
        person="ann", sharer="0" * 16, outcome=outcome, about=about, leaks=(leak,)
    )
    return ShareSummary(
        pool=Path("pool"),
        sharers=0,
        present=(),
        findings=(finding,),
        report=Path("report.json"),
        seconds=1.0,
    )


@pytest.mark.finding("audit-memorized")
def test_print_sharing_names_leaking_items_and_remedies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_sharing(make_summary("refused"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "the adapter says a phone number: mail-0, mail-1" in shown
    assert "mail-7, ..." in shown and "mail-8" not in shown
    for remedy in ("idiolect forget", "--private", "--ratio", "--override-leakage"):
        assert remedy in shown


def test_print_sharing_gives_no_remedies_for_shared_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_sharing(make_summary("overridden"))
    assert "mail-0" not in capsys.readouterr().out
