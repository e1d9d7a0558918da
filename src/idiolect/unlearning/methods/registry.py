"""The methods by name, each with its settings: a new one is a file and a line here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from idiolect.errors import UsageError
from idiolect.unlearning.methods.finetune import FineTune
from idiolect.unlearning.methods.ga_mismatch import Mismatch
from idiolect.unlearning.methods.gradient_ascent import Ascent
from idiolect.unlearning.methods.npo import Npo
from idiolect.unlearning.methods.protocol import Method
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.methods.task_vector import TaskVector


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Every method's settings, under its name with ``_`` for ``-``."""

    sku: Sku = field(default_factory=Sku)
    ft: FineTune = field(default_factory=FineTune)
    ga: Ascent = field(default_factory=Ascent)
    ga_mismatch: Mismatch = field(default_factory=Mismatch)
    task_vector: TaskVector = field(default_factory=TaskVector)
    npo: Npo = field(default_factory=Npo)

    def of(self, name: str) -> Method:
        """The method of that name with its settings; raises UsageError for an unknown one."""
        if name not in NAMES:
            raise UsageError(f"unknown method {name!r}; known: {', '.join(NAMES)}")
        return getattr(self, name.replace("-", "_"))


NAMES = tuple(f.name.replace("_", "-") for f in fields(Methods))
