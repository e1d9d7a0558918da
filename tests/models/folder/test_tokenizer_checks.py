"""A tokenizer that does not fit its model is refused before the weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AddedToken, GPT2Config, LlamaConfig

from idiolect.errors import MismatchError
from idiolect.models.folder.tokenizer_checks import check_tokenizer, get_embedding_rows
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import load_base
from idiolect.models.tiny import make_byte_tokenizer, make_tiny_base

HERE = Path("little")


def make_config(rows: int) -> Any:
    return LlamaConfig(vocab_size=rows)


def test_check_tokenizer_takes_equal_and_padded_vocabulary() -> None:
    tokenizer = make_byte_tokenizer()
    for rows in (len(tokenizer), len(tokenizer) + 62):
        check_tokenizer(tokenizer, make_config(rows), HERE)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (200, r"little: the tokenizer has 58 tokens outside the model's vocabulary of 200 "),
        (257, r"has 1 tokens outside .* of 257 \(e\.g\. '</s>', number 257\); copy the tokenizer"),
    ],
)
def test_check_tokenizer_refuses_tokens_outside_embeddings(rows: int, words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        check_tokenizer(make_byte_tokenizer(), make_config(rows), HERE)


def test_check_tokenizer_allows_special_token_that_no_text_becomes() -> None:
    """Gemma 3's text models have the mark of a picture after their last token."""
    tokenizer = make_byte_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens([AddedToken("<picture>", special=True)])
    check_tokenizer(tokenizer, make_config(rows), HERE)
    assert max(tokenizer.encode("<picture>", split_special_tokens=True)) < rows
    # A text can become a token that is not special.
    tokenizer.add_tokens([AddedToken("<smile>", special=False)])
    with pytest.raises(MismatchError, match="'<smile>', number 259"):
        check_tokenizer(tokenizer, make_config(rows), HERE)


def test_check_tokenizer_refuses_special_token_that_every_text_gets() -> None:
    tokenizer = make_byte_tokenizer()
    tokenizer.add_tokens([AddedToken("<begin>", special=True)])
    inner: Any = tokenizer.backend_tokenizer
    inner.post_processor = TemplateProcessing(
        single="<begin> $A", special_tokens=[("<begin>", 258)]
    )
    with pytest.raises(MismatchError, match="'<begin>', number 258"):
        check_tokenizer(tokenizer, make_config(258), HERE)


def test_check_tokenizer_refuses_missing_end_token() -> None:
    tokenizer = make_byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(MismatchError, match=r"no token that ends an answer \(eos_token\); name it"):
        check_tokenizer(tokenizer, make_config(258), HERE)


def test_get_embedding_rows_reads_text_part() -> None:
    assert get_embedding_rows(make_config(7)) == 7
    assert get_embedding_rows(GPT2Config(vocab_size=9)) == 9


def test_load_base_checks_tokenizer_before_it_loads_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = make_tiny_base()
    tiny.tokenizer.add_tokens(["<smile>"])
    with silence_transformers():
        tiny.model.save_pretrained(tmp_path)
        tiny.tokenizer.save_pretrained(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("loads the weights")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(MismatchError, match="1 tokens outside the model's vocabulary of 258"):
        load_base(tmp_path, device="cpu")
