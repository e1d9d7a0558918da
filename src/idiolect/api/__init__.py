"""The Python API: one function for each command of the ``idiolect`` command line.

Most functions take one frozen request object and return a frozen summary. Paths are
``pathlib.Path``. Long-running functions report progress to a ``Listener``, a callable that takes
events (``idiolect.events``). All errors are subclasses of ``idiolect.errors.IdiolectError``; a
function that fails leaves no partly written files.

Importing this package does not import torch: each function imports what it needs when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.api.bases import check_base
from idiolect.api.data import ProfileSummary, import_data, inspect_data, profile
from idiolect.api.forgetting import (
    SuppressionListReport,
    edit_suppression_list,
    forget,
    forget_people,
)
from idiolect.api.requests import (
    AdaptRequest,
    BaseCheckRequest,
    ConsentRequest,
    ExportRequest,
    ForgetRequest,
    ImportAdapterRequest,
    ImportRequest,
    PredictRequest,
    ProfileRequest,
    ScorecardRequest,
    SuppressionListRequest,
    UnlearnRequest,
)
from idiolect.api.serving import demo, evaluate, export, import_adapter, predict
from idiolect.api.sharing import (
    assemble,
    consent,
    consents,
    mean,
    pool_report,
    repair_ledger,
    share,
    withdraw,
)
from idiolect.api.training import adapt, merge, personalize
from idiolect.api.unlearning import UnlearnSummary, scorecard, unlearn
from idiolect.evaluation.request import EvaluateRequest
from idiolect.pieces.assembly.request import AssembleRequest
from idiolect.pieces.means.request import MeanRequest
from idiolect.pieces.sharing.request import ShareRequest
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.training.runs.request import PersonalizeRequest

if TYPE_CHECKING:
    from idiolect.adapters.formats.exchange import ImportedAdapter
    from idiolect.erasure.forget import ForgetConfig
    from idiolect.erasure.receipt import Receipt
    from idiolect.evaluation.run_scorecard import ScorecardConfig
    from idiolect.evaluation.runner import EvaluateConfig
    from idiolect.pieces.assembly.assembler import AssembleSummary
    from idiolect.pieces.means.run import MeanSummary
    from idiolect.pieces.recipes.config import RecipeConfig
    from idiolect.pieces.sharing.run import ShareSummary
    from idiolect.pieces.sharing.sharing import ShareConfig
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary
    from idiolect.serving.predict import Prediction
    from idiolect.training.adapt_base import AdaptConfig
    from idiolect.training.base_report.base_report import BaseReport
    from idiolect.training.engine.config import EngineConfig
    from idiolect.training.runs.plan import PersonalConfig
    from idiolect.training.sharded.shards import MergeSummary
    from idiolect.unlearning.run import UnlearnConfig

__all__ = [
    "AdaptConfig",
    "AdaptRequest",
    "AssembleRequest",
    "AssembleSummary",
    "BaseCheckRequest",
    "BaseReport",
    "ConsentRequest",
    "EngineConfig",
    "EvaluateConfig",
    "EvaluateRequest",
    "ExportRequest",
    "ForgetConfig",
    "ForgetRequest",
    "ImportAdapterRequest",
    "ImportRequest",
    "ImportedAdapter",
    "MeanRequest",
    "MeanSummary",
    "MergeSummary",
    "PersonalConfig",
    "PersonalizeRequest",
    "PredictRequest",
    "Prediction",
    "ProfileRequest",
    "ProfileSummary",
    "Receipt",
    "RecipeConfig",
    "ScorecardConfig",
    "ScorecardRequest",
    "ShareConfig",
    "ShareRequest",
    "ShareSummary",
    "SuppressionListReport",
    "SuppressionListRequest",
    "UnlearnConfig",
    "UnlearnRequest",
    "UnlearnSummary",
    "WithdrawRequest",
    "WithdrawSummary",
    "adapt",
    "assemble",
    "check_base",
    "consent",
    "consents",
    "demo",
    "edit_suppression_list",
    "evaluate",
    "export",
    "forget",
    "forget_people",
    "import_adapter",
    "import_data",
    "inspect_data",
    "mean",
    "merge",
    "personalize",
    "pool_report",
    "predict",
    "profile",
    "repair_ledger",
    "scorecard",
    "share",
    "unlearn",
    "withdraw",
]

_LAZY_EXPORTS = {
    "AdaptConfig": "idiolect.training.adapt_base",
    "AssembleSummary": "idiolect.pieces.assembly.assembler",
    "BaseReport": "idiolect.training.base_report.base_report",
    "EngineConfig": "idiolect.training.engine.config",
    "EvaluateConfig": "idiolect.evaluation.runner",
    "ForgetConfig": "idiolect.erasure.forget",
    "MeanSummary": "idiolect.pieces.means.run",
    "MergeSummary": "idiolect.training.sharded.shards",
    "PersonalConfig": "idiolect.training.runs.plan",
    "Prediction": "idiolect.serving.predict",
    "Receipt": "idiolect.erasure.receipt",
    "RecipeConfig": "idiolect.pieces.recipes.config",
    "ScorecardConfig": "idiolect.evaluation.run_scorecard",
    "ShareConfig": "idiolect.pieces.sharing.sharing",
    "ShareSummary": "idiolect.pieces.sharing.run",
    "ImportedAdapter": "idiolect.adapters.formats.exchange",
    "UnlearnConfig": "idiolect.unlearning.run",
    "WithdrawSummary": "idiolect.pieces.withdrawal.withdraw",
}
"""Classes that ``__getattr__`` imports on first use, because their modules import torch."""


def __getattr__(name: str) -> Any:
    """Import a lazy export on first use. Raises AttributeError if the name is not exported."""
    # Request classes and functions are imported above; they import nothing heavy.
    if name in _LAZY_EXPORTS:
        import importlib

        return getattr(importlib.import_module(_LAZY_EXPORTS[name]), name)
    raise AttributeError(name)
