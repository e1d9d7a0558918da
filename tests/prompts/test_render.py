from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from idiolect.errors import MismatchError
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.prompts.render import PromptConfig, PromptRenderer, truncate_words
from idiolect.tasks.task import Prompt

TOKENIZER = make_byte_tokenizer()  # one token per byte, so lengths are easy to count
OPENING, CLOSING = "<s>user\n", "</s>\n<s>assistant\n"
FRAME = 1 + 5 + 1 + 1 + 1 + 10  # each special token is one token
letters = st.text("abc \n", max_size=60)
words = st.text("xyz", min_size=1, max_size=12)


def decode(ids: Any) -> str:
    return str(TOKENIZER.decode(list(ids)))


@st.composite
def draw_questions(draw: st.DrawFn) -> Prompt:
    return Prompt(
        before=draw(st.sampled_from(["", "Q: "])),
        body=draw(letters),
        after=draw(st.sampled_from(["", " :A"])),
    )


@given(
    prompt=draw_questions(),
    answer=st.text("efg", min_size=1, max_size=20),
    memories=st.lists(words, max_size=4),
    profile=st.sampled_from(["", "pqr pqr"]),
    limit=st.integers(10, 140),
    field_words=st.integers(1, 20),
)
def test_encode_example_cuts_only_input_field_and_context(
    prompt: Prompt,
    answer: str,
    memories: list[str],
    profile: str,
    limit: int,
    field_words: int,
) -> None:
    config = PromptConfig(max_tokens=limit, field_words=field_words)
    example = PromptRenderer(TOKENIZER, config).encode_example(
        prompt, answer, retrieved_items=memories, profile=profile
    )
    # Template, instruction, answer and end token are never cut.
    fixed = FRAME + len(prompt.before) + len(prompt.after) + len(answer) + 1
    if example is None:
        assert fixed + 1 > limit
        return
    assert fixed < limit and len(example.ids) <= limit
    assert decode(example.ids[example.answer_start :]) == answer + "</s>"
    # Split the prompt into profile, memories and body.
    text = decode(example.ids[: example.answer_start])
    assert text.startswith(OPENING) and text.endswith(prompt.after + CLOSING)
    inside = text.removeprefix(OPENING).removesuffix(prompt.after + CLOSING)
    about, shown, body = split_context(inside, memories, profile)
    assert body.startswith(prompt.before)
    body = body.removeprefix(prompt.before)
    whole = truncate_words(prompt.body, field_words)
    assert whole.startswith(body)
    space = limit - fixed
    context_size = len(inside) - len(prompt.before) - len(body)
    assert context_size + len(body) <= space
    if body != whole:  # cut: then all space is used, and at least half of it for the body
        assert context_size + len(body) == space and context_size <= space // 2
    if shown < len(memories):  # the best memories were kept, and the next one does not fit
        room = max(space // 2, space - len(whole))
        assert context_size + len(memories[shown]) + 1 + (0 if shown else 1) > room
    assert (
        about
        or not profile
        or len(f"About me: {profile}\n\n") > max(space // 2, space - len(whole))
    )


def split_context(inside: str, memories: list[str], profile: str) -> tuple[bool, int, str]:
    """Return whether the profile is there, the number of best memories, and the text after them."""
    head = f"About me: {profile}\n\n"
    about = bool(profile) and inside.startswith(head)
    inside = inside.removeprefix(head) if about else inside
    for count in range(len(memories), 0, -1):
        lines = "".join(f"{m}\n" for m in reversed(memories[:count])) + "\n"
        if inside.startswith(lines):
            return about, count, inside.removeprefix(lines)
    return about, 0, inside


def test_encode_example_renders_whole_prompt() -> None:
    prompt = Prompt(before="Rate: ", body="a film", after="\nFrom 1 to 5.")
    example = PromptRenderer(TOKENIZER).encode_example(
        prompt, "4", retrieved_items=["best", "next"], profile="kind"
    )
    assert example is not None and example.label_counts == () and example.num_targets == 2
    assert decode(example.ids) == (
        "<s>user\nAbout me: kind\n\nnext\nbest\n\nRate: a film\nFrom 1 to 5.</s>\n"
        "<s>assistant\n4</s>"
    )


def test_encode_prompt_leaves_space_for_answer() -> None:
    prompter = PromptRenderer(TOKENIZER, PromptConfig(max_tokens=100))
    prompt = Prompt(before="", body="word " * 50)
    for room in (0, 1, 40, 80):
        ids = prompter.encode_prompt(prompt, reserve_tokens=room)
        assert ids is not None and len(ids) == 100 - room
    assert prompter.encode_prompt(prompt, reserve_tokens=100 - FRAME) is None
    assert prompter.encode_prompt(prompt, reserve_tokens=99 - FRAME) is not None


def test_encode_prompt_limits_words_of_each_part() -> None:
    config = PromptConfig(memory_words=2, profile_words=1, field_words=3)
    ids = PromptRenderer(TOKENIZER, config).encode_prompt(
        Prompt(before="", body="a b c d"), retrieved_items=["k l m"], profile="x y"
    )
    assert decode(ids) == f"{OPENING}About me: x\n\nk l\n\na b c{CLOSING}"


def test_plain_text_example_predicts_from_first_token() -> None:
    prompter = PromptRenderer(TOKENIZER, PromptConfig(max_tokens=8, field_words=3))
    short, long = prompter.plain_text_example("a b"), prompter.plain_text_example("abc def ghi jkl")
    assert short is not None and long is not None
    assert decode(short.ids) == "</s>a b</s>" and short.answer_start == 1
    assert decode(long.ids) == "</s>abc def" and len(long.ids) == 8
    assert prompter.plain_text_example("") is None and prompter.plain_text_example("a b") == short


@given(text=st.text(" ab\n\t\u00a0\u3000", max_size=40), count=st.integers(0, 8))
def test_truncate_words_keeps_prefix_with_word_count(text: str, count: int) -> None:
    kept = truncate_words(text, count)
    assert text.startswith(kept)
    assert kept.split() == text.split()[:count]
    assert len(text.split()) > count or kept == text


def make_tokenizer(template: str | None, **marks: str) -> PreTrainedTokenizerFast:
    tokenizer = make_byte_tokenizer()
    tokenizer.add_special_tokens({**marks})  # type: ignore[arg-type]
    tokenizer.chat_template = template
    return tokenizer


CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "[INST] {{ m['content'] }} [/INST]{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "marks", "opening", "closing"),
    [
        (
            CHATML,
            {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"},
            "<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            GEMMA,
            {"eos_token": "<eos>", "bos_token": "<bos>"},
            "<bos><start_of_turn>user\n",
            "<end_of_turn>\n<start_of_turn>model\n",
        ),
        (MISTRAL, {"eos_token": "</s>", "bos_token": "<s>"}, "<s>[INST] ", " [/INST]"),
        (None, {"eos_token": "</s>", "bos_token": "<s>"}, "<s>", "\nAnswer:"),
    ],
    ids=["chatml", "gemma", "mistral", "none"],
)
def test_encode_prompt_uses_template_of_later_turn(
    template: str | None, marks: dict[str, str], opening: str, closing: str
) -> None:
    """Without a default system prompt, the end of the previous turn, or a doubled BOS token."""
    tokenizer = make_tokenizer(template, **marks)
    prompter = PromptRenderer(tokenizer)
    ids = prompter.encode_prompt(Prompt(before="", body="hello"))
    assert ids is not None
    assert tokenizer.decode(ids) == f"{opening}hello{closing}"
    example = prompter.encode_example(Prompt(before="", body="hello"), "yes")
    assert example is not None and example.ids[-1] == tokenizer.eos_token_id
    answer = tokenizer.decode(list(example.ids[example.answer_start : -1]))
    assert answer == ("yes" if template else " yes")


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "{% if %}", "nothing of it", "{{ messages[7]['content'] }}"],
)
def test_prompt_renderer_rejects_broken_template(template: str) -> None:
    with pytest.raises(MismatchError, match="chat template"):
        PromptRenderer(make_tokenizer(template))


def test_prompt_renderer_rejects_tokenizer_without_eos() -> None:
    tokenizer = make_byte_tokenizer()
    tokenizer.eos_token = None  # type: ignore[assignment]
    with pytest.raises(MismatchError, match="eos_token"):
        PromptRenderer(tokenizer)


pieces = st.one_of(st.sampled_from(["<s>", "</s>"]), st.text(min_size=1, max_size=5))


@given(body=st.lists(pieces, min_size=1, max_size=6).map("".join))
def test_encode_prompt_keeps_special_tokens_in_text_as_text(body: str) -> None:
    """Otherwise a ``</s>`` in a person's chat would end their turn."""
    prompter = PromptRenderer(TOKENIZER)
    prompt = Prompt(before="", body=body)
    ids = prompter.encode_prompt(prompt, retrieved_items=[body], profile="</s>")
    example = prompter.encode_example(prompt, "</s>")
    passage = prompter.plain_text_example(body)
    assert ids is not None and example is not None and passage is not None
    inside = ids[6:-13]  # between opening and closing
    for found in (inside, example.ids[example.answer_start : -1], passage.ids[1:-1]):
        assert not set(found) & set(TOKENIZER.all_special_ids)
