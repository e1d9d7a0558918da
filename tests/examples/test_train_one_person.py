"""The example is a flat loop on real data, and gives the adapter that the engine gives."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from examples import train_one_person as example
from idiolect.models.tiny import make_tiny_base
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from support.job_strategies import relative_difference

SOURCE = Path(example.__file__)
MAX_LINES = 85
"""Without blank lines."""


def test_example_gives_the_adapter_of_the_engine() -> None:
    base = make_tiny_base()
    person, examples = example.load_examples(base, items=10)
    assert len(examples) == 10
    job = TrainingJob(person=person, examples=tuple(examples))
    (engine,) = train_many(base, [job], example.LORA, example.TRAIN)
    adapter, losses = example.train(base, person, examples)
    assert len(losses) == engine.steps == 4
    assert losses[0] == pytest.approx(engine.first_loss, rel=1e-5)
    assert losses[-1] == pytest.approx(engine.last_loss, rel=1e-4)
    assert relative_difference(adapter, engine.adapter) <= 1e-5


def test_example_is_one_flat_loop() -> None:
    text = SOURCE.read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in text.splitlines()) <= MAX_LINES
    functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert functions == ["load_examples", "train"]
