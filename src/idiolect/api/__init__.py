"""The verbs: what the commands do, as functions. Heavy imports stand inside them.

Paths come in, plain values go out; progress is told to a ``Listener``. Every verb raises errors of
the tree in ``errors.py`` and leaves nothing half-written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.api.data import ProfileSummary, import_data, inspect_data, profile
from idiolect.api.forgetting import forget
from idiolect.api.serving import demo, evaluate, export, import_adapter, predict
from idiolect.api.sharing import assemble, consent, consents, mean, pool_report, share, withdraw
from idiolect.api.training import adapt, merge, personalize
from idiolect.api.unlearning import UnlearnSummary, scorecard, unlearn

if TYPE_CHECKING:
    from idiolect.adapters.exchange import Taken
    from idiolect.evaluation.runner import EvaluateConfig
    from idiolect.evaluation.scorecard import ScorecardConfig
    from idiolect.generation.serve import Prediction
    from idiolect.pieces.assembling import AssembleSummary
    from idiolect.pieces.settings import RecipeConfig
    from idiolect.pieces.share import ShareSummary
    from idiolect.pieces.sharing import ShareConfig
    from idiolect.pieces.withdraw import WithdrawSummary
    from idiolect.training.adapt import AdaptConfig
    from idiolect.training.layout import EngineConfig
    from idiolect.training.personalize import PersonalConfig
    from idiolect.training.scale import MergeSummary
    from idiolect.unlearning.forget import ForgetConfig
    from idiolect.unlearning.receipt import Receipt
    from idiolect.unlearning.unlearn import UnlearnConfig

__all__ = [
    "AdaptConfig",
    "AssembleSummary",
    "EngineConfig",
    "EvaluateConfig",
    "ForgetConfig",
    "MergeSummary",
    "PersonalConfig",
    "Prediction",
    "ProfileSummary",
    "Receipt",
    "RecipeConfig",
    "ScorecardConfig",
    "ShareConfig",
    "ShareSummary",
    "Taken",
    "UnlearnConfig",
    "UnlearnSummary",
    "WithdrawSummary",
    "adapt",
    "assemble",
    "consent",
    "consents",
    "demo",
    "evaluate",
    "export",
    "forget",
    "import_adapter",
    "import_data",
    "inspect_data",
    "mean",
    "merge",
    "personalize",
    "pool_report",
    "predict",
    "profile",
    "scorecard",
    "share",
    "unlearn",
    "withdraw",
]

_LAZY = {
    "AdaptConfig": "idiolect.training.adapt",
    "AssembleSummary": "idiolect.pieces.assembling",
    "EngineConfig": "idiolect.training.layout",
    "EvaluateConfig": "idiolect.evaluation.runner",
    "ForgetConfig": "idiolect.unlearning.forget",
    "MergeSummary": "idiolect.training.scale",
    "PersonalConfig": "idiolect.training.personalize",
    "Prediction": "idiolect.generation.serve",
    "Receipt": "idiolect.unlearning.receipt",
    "RecipeConfig": "idiolect.pieces.settings",
    "ScorecardConfig": "idiolect.evaluation.scorecard",
    "ShareConfig": "idiolect.pieces.sharing",
    "ShareSummary": "idiolect.pieces.share",
    "Taken": "idiolect.adapters.exchange",
    "UnlearnConfig": "idiolect.unlearning.unlearn",
    "WithdrawSummary": "idiolect.pieces.withdraw",
}
"""These classes are part of the verbs, yet loading them loads torch."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(name)
