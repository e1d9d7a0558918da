"""One call of ``evaluate`` as a value, shared by command, API and work; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.evaluation.runner import EvaluateConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Which methods to compare, and on whom."""

    data: Path
    """Folder of the dataset."""
    out: Path
    """Folder of the report."""
    base: str = "default"
    """The base model: ``default`` (embedded), a folder, or a hub id."""
    rag_base: str | None = None
    """A base adapted with retrieval, for the methods that use it; ``base`` if ``None``."""
    pag_base: str | None = None
    """A base adapted with profiles, for the methods that use them; ``base`` if ``None``."""
    methods: Sequence[str] = ()
    """Names of the methods; those of ``config`` if empty."""
    people: Sequence[str] | int = ()
    """These people, a seeded draw of that many, or all who can be tested if empty."""
    config: EvaluateConfig | None = None
    """How methods are trained and asked; its defaults if ``None``."""
