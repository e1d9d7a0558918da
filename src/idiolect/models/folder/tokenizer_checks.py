"""Checks that a tokenizer fits its model: before the weights are loaded, not in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from idiolect.errors import MismatchError
from idiolect.models.folder.load_errors import shorten_text


def check_tokenizer(tokenizer: Any, config: PreTrainedConfig, folder: Path) -> None:
    """Check that every token that a prompt or an answer can hold has a row in the embeddings.

    Special tokens that only other inputs than text use (the mark of a picture in Gemma 3's
    tokenizer) may lie outside: a person's text never becomes a special token.

    Raises MismatchError if the tokenizer is not a fast one, has no token that ends an answer, or
    has tokens outside the embeddings.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise MismatchError(
            f"{folder}: its tokenizer has no fast version (tokenizer.json); save one with "
            "transformers, or use another model"
        )
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise MismatchError(
            f"{folder}: the tokenizer has no token that ends an answer (eos_token); name it as "
            "eos_token in tokenizer_config.json"
        )
    rows = get_embedding_rows(config)
    if rows is None:
        return
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    # A template, an answer's end and the tokenizer itself add these to every text.
    special -= {end, tokenizer.bos_token_id, *tokenizer.encode("a")}
    outside = {
        number: token
        for token, number in tokenizer.get_vocab().items()
        if not 0 <= number < rows and number not in special
    }
    if outside:
        number = min(outside)
        raise MismatchError(
            f"{folder}: the tokenizer has {len(outside):,} tokens outside the model's vocabulary "
            f"of {rows:,} (e.g. {shorten_text(outside[number], 40)!r}, number {number:,}); copy "
            "the tokenizer that belongs to the model, or enlarge the model's embeddings"
        )


def get_embedding_rows(config: PreTrainedConfig) -> int | None:
    """The number of tokens that a model's embeddings have; None if its config does not say."""
    rows = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    return rows if isinstance(rows, int) else None
