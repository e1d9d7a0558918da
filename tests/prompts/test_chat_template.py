"""Chat templates of foreign models: programs that may not end, or not render a conversation."""

from __future__ import annotations

import pytest

from idiolect.errors import MismatchError
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.prompts import chat_template
from idiolect.prompts.chat_template import split_chat_template

pytestmark = pytest.mark.finding("foreign-base")


def test_split_chat_template_ends_wait_for_template(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_byte_tokenizer()
    # A second or so, far above the limit; it ends by itself.
    loops = "{% for a in range(2000) %}{% for b in range(2000) %}{% endfor %}{% endfor %}"
    tokenizer.chat_template = loops + str(tokenizer.chat_template)
    monkeypatch.setattr(chat_template, "TEMPLATE_SECONDS", 0.01)
    with pytest.raises(MismatchError, match=r"runs for more than 0\.01 seconds; use another model"):
        split_chat_template(tokenizer)


@pytest.mark.parametrize("template", ["no messages", "{{ messages[7].content }}", "{% for %}"])
def test_split_chat_template_explains_failure_in_words(template: str) -> None:
    tokenizer = make_byte_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(MismatchError, match="does not render a plain conversation") as error:
        split_chat_template(tokenizer)
    assert "Error(" not in str(error.value)
