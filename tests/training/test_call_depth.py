"""Few calls lead from the command to the optimizer step, so that a reader can follow them."""

from __future__ import annotations

from pathlib import Path

from support.call_depth import record_calls_to_optimizer

MOST_CALLS = 8


def test_personalize_command_reaches_optimizer_in_few_calls(tmp_path: Path) -> None:
    calls = record_calls_to_optimizer(tmp_path)
    assert calls[0] == ("cli.commands.personalize", "personalize_command")
    assert calls[-1] == ("training.engine.optimizer", "StackedAdamW.step_slot")
    assert len(calls) <= MOST_CALLS, "\n".join(f"{module}: {name}" for module, name in calls)
