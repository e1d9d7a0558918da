"""The unlearning methods by name, with their settings. To add a method, add a module and a field
here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from idiolect.errors import UsageError
from idiolect.unlearning.methods.finetune import FineTune
from idiolect.unlearning.methods.ga_mismatch import GradientAscentMismatch
from idiolect.unlearning.methods.gradient_ascent import GradientAscent
from idiolect.unlearning.methods.npo import Npo
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.methods.task_vector import TaskVector


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """The settings of all methods. A field is the method's name with ``_`` for ``-``."""

    sku: Sku = field(default_factory=Sku)
    ft: FineTune = field(default_factory=FineTune)
    ga: GradientAscent = field(default_factory=GradientAscent)
    ga_mismatch: GradientAscentMismatch = field(default_factory=GradientAscentMismatch)
    task_vector: TaskVector = field(default_factory=TaskVector)
    npo: Npo = field(default_factory=Npo)

    def get_method(self, name: str) -> UnlearningMethod:
        """Return the method of this name with its settings. Raises UsageError if the name is
        unknown."""
        if name not in METHOD_NAMES:
            raise UsageError(f"unknown method {name!r}; known: {', '.join(METHOD_NAMES)}")
        return getattr(self, name.replace("-", "_"))


METHOD_NAMES = tuple(f.name.replace("_", "-") for f in fields(MethodSettings))
