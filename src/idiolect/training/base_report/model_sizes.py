"""Counts what decides a model's need of memory, on a copy without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.models.folder.weights import silence_transformers
from idiolect.models.linear import is_linear
from idiolect.models.structure import copy_config, get_text_config
from idiolect.training.engine.memory_plan import count_activations, count_scores

_SHORT, _LONG = 16, 32
"""Lengths of the two rows that show how a cache of keys and values grows, in tokens."""


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """Numbers in a model's weights, and per token of its activations."""

    parameters: int
    quantizable: int
    """Weights of the linear layers without the output head: what ``nf4`` makes smaller."""
    activations: int
    """What a forward keeps per token for its backward."""
    scores: int
    """Attention scores and their softmax, per token and per token that it attends to."""
    cache: int
    """Keys and values in generation, per token. At most, for layers that attend to a window."""
    state: int
    """Numbers that generation keeps whatever the length: states and convolutions."""
    vocabulary: int


def make_empty_copy(model: Any) -> Any:
    """Return a model of the same class and config without memory for weights (on ``meta``)."""
    with torch.device("meta"), silence_transformers():
        made = type(model)(copy_config(model))
        made.tie_weights()
    return made.eval()


def measure_sizes(model: Any) -> ModelSizes:
    """Count a model's sizes; ``model`` may be on ``meta``, and must not be quantized."""
    config = get_text_config(model)
    head = model.get_output_embeddings()
    linear = [one for one in model.modules() if is_linear(one) and one is not head]
    cache, state = _measure_cache(model, config)
    return ModelSizes(
        parameters=sum(one.numel() for one in model.parameters()),
        quantizable=sum(one.weight.numel() for one in linear),
        activations=count_activations(model),
        scores=count_scores(model),
        cache=cache,
        state=state,
        vocabulary=int(config.vocab_size),
    )


def _measure_cache(model: Any, config: Any) -> tuple[int, int]:
    """Return how many numbers generation keeps per token, and how many whatever the length."""
    try:
        short, long = (_count_cache_numbers(model, length) for length in (_SHORT, _LONG))
    except Exception:  # what experts get depends on numbers, which an empty copy does not have
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None)
        width = width or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * width, 0
    each = (long - short) // (_LONG - _SHORT)
    return each, short - each * _SHORT


@torch.inference_mode()
def _count_cache_numbers(model: Any, length: int) -> int:
    ids = torch.zeros(1, length, dtype=torch.long, device=model.device)
    made = model(input_ids=ids, use_cache=True)
    found = getattr(made, "past_key_values", None)
    found = getattr(made, "cache_params", None) if found is None else found
    return sum(one.numel() for one in _iter_tensors(found))


def _iter_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a cache, whatever its class."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _iter_tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _iter_tensors(one)
    elif type(value).__module__.startswith("transformers.cache_utils"):
        yield from _iter_tensors(vars(value))
