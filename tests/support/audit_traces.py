"""Traces of made-up losses, so that attacks on losses can be tested without a model."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.audit.plan import AuditPlan
from idiolect.audit.subject import AuditSubject
from idiolect.audit.traces import ItemTrace, TokenLosses
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.prompts.render import Example

TOKENIZER = make_byte_tokenizer()


def encode_answer(answer: str) -> Example:
    """An item with a short prompt; one token per letter."""
    before, after = (TOKENIZER.encode(t, add_special_tokens=False) for t in ("q:", answer))
    return Example((*before, *after, 257), len(before))


def make_plan(answers: Sequence[str]) -> AuditPlan:
    """A plan of a person who wrote these answers."""
    members = tuple(encode_answer(answer) for answer in answers)
    subject = AuditSubject(person="ann", members=members, non_members=())
    return AuditPlan(subject, TOKENIZER)


def make_trace(answer: str, found: float | list[float], base: float = 4.0) -> ItemTrace:
    """A trace with these losses per token; a token below ln 2 is the most likely one."""
    example = encode_answer(answer)
    size = len(example.ids) - example.answer_start
    return ItemTrace(
        example=example,
        base=_make_losses([base] * size),
        found=_make_losses([*found, 0.1] if isinstance(found, list) else [found] * size),
    )


def _make_losses(nats: Sequence[float]) -> TokenLosses:
    return TokenLosses(
        nats=tuple(nats), is_top=tuple(n < 0.69 for n in nats), counts=(1.0,) * len(nats)
    )
