"""Where a model of any family has its decoder, its layers, and the config of its text part."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

_LIMIT_SUFFIXES = ("window", "window_size", "chunk_size", "local_attention")
"""How fields of configs end that limit how far back a layer attends."""


def find_decoder(model: Any) -> Any:
    """Return the module that turns token ids into hidden states, without the output head.

    ``get_decoder`` of transformers gives the model itself or its head for some families (Llama 4,
    ModernBERT); there, the decoder is the first model inside the model.
    """
    found = model.get_decoder()
    if isinstance(found, PreTrainedModel) and found is not model:
        return found
    inner = (child for child in model.children() if isinstance(child, PreTrainedModel))
    return next(inner, found)


def find_layers(decoder: Any) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of a decoder's layers, which families call ``layers``, ``h`` or
    ``blocks``. Raises LookupError if it has none."""
    lists = {
        name: child for name, child in decoder.named_children() if isinstance(child, nn.ModuleList)
    }
    # The layers are the list with most parts; in Gemma 3n, other lists are beside them.
    if not lists:
        raise LookupError(f"{type(decoder).__name__} has no list of layers")
    name = "layers" if "layers" in lists else max(lists, key=lambda name: len(lists[name]))
    return name, lists[name]


def get_text_config(model: Any) -> PreTrainedConfig:
    """Return the config of the text part; models for images and text have others beside it."""
    return model.config.get_text_config(decoder=True)


def copy_config(model: Any) -> Any:
    """Return a copy of a model's config with which the same model can be made again: Falcon and
    others look up their attention at once, and know that of transformers only."""
    config = copy.deepcopy(model.config)
    config._attn_implementation = "eager"
    return config


def find_attention_span(model: Any) -> int | None:
    """Return the number of tokens to which every layer attends; None if there is no limit.

    Families give their windows and chunks different names, so every such field counts unless all
    layers are known to attend to all tokens.
    """
    config = get_text_config(model)
    kinds = getattr(config, "layer_types", None)
    if kinds and all(kind == "full_attention" for kind in kinds):
        return None
    limits = [
        value
        for name, value in vars(config).items()
        if name.endswith(_LIMIT_SUFFIXES) and type(value) is int and value > 0
    ]
    return min(limits, default=None)
