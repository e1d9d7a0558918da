"""Knowledge taken out of a base model or an adapter, and the proof that it is gone."""

from idiolect.unlearning.pairs import Pair, read_pairs
from idiolect.unlearning.split import require_apart, split_by_prompt
from idiolect.unlearning.train import DeltaConfig, train_delta
from idiolect.unlearning.unlearn import UnlearnConfig, Unlearned, unlearn

__all__ = [
    "DeltaConfig",
    "Pair",
    "UnlearnConfig",
    "Unlearned",
    "read_pairs",
    "require_apart",
    "split_by_prompt",
    "train_delta",
    "unlearn",
]
