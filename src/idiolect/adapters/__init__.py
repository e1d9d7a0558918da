"""Adapters as values, stacked for many people, in PEFT's format, and in the packed store; gates on
them."""

from idiolect.adapters.gates import Gates, GateStack
from idiolect.adapters.lora import LoraAdapter, LoraConfig, Site, fresh, merged_weight, sites
from idiolect.adapters.mean import mean_adapter
from idiolect.adapters.peft_format import load_peft, save_peft
from idiolect.adapters.ranks import stack_ranks
from idiolect.adapters.stacked import Stack, rows_of, stack_of

__all__ = [
    "GateStack",
    "Gates",
    "LoraAdapter",
    "LoraConfig",
    "Site",
    "Stack",
    "fresh",
    "load_peft",
    "mean_adapter",
    "merged_weight",
    "rows_of",
    "save_peft",
    "sites",
    "stack_of",
    "stack_ranks",
]
