"""The arguments of one call of ``evaluate``, shared by the command and the API; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.evaluation.runner import EvaluateConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The methods to compare, the data, and the folder of the report."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder of the report."""
    base: str = "default"
    """The base model: ``default`` (bundled), a folder, or ``hub:`` and a hub id."""
    rag_base: str | None = None
    """The base for the methods with retrieval, adapted with it; ``base`` if ``None``."""
    pag_base: str | None = None
    """The base for the methods with profiles, adapted with them; ``base`` if ``None``."""
    methods: Sequence[str] = ()
    """Names of the methods; the methods of ``config`` if empty."""
    people: Sequence[str] | int = ()
    """Ids of the people, or the number of people to draw with the seed; if empty, all people who
    can be tested."""
    config: EvaluateConfig | None = None
    """Settings of training and prediction; the defaults if ``None``."""
