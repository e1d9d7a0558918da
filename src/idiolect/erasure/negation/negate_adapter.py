"""Negates, in memory, what an adapter still knows of records that were deleted from its person's
data.

The pairs are rendered as in training and form the forget set; the person's remaining items are the
retain set. The result has the rank of the original adapter. Reads and writes no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from idiolect.adapters.protocol import Adapter
from idiolect.erasure.negation.deleted_rows import parse_pair_fields
from idiolect.erasure.negation_result import NegationResult
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.interaction import Interaction
from idiolect.models.base import Base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.context import PersonContext
from idiolect.prompts.render import Example
from idiolect.tasks.task import Prompt
from idiolect.unlearning.examples import ForgetRetainSets, TokenizedPair, pair_from_example
from idiolect.unlearning.run import (
    UnlearnConfig,
    cap_measured_pairs,
    compute_perplexity,
    unlearn_adapter,
)


def negate_pairs(
    base: Base,
    adapter: Adapter,
    person: PersonContext,
    pairs: Sequence[Pair],
    config: UnlearnConfig,
    *,
    listener: Listener = null_listener,
) -> tuple[Adapter, NegationResult]:
    """Return a person's adapter with the pairs negated, and measurements of the change.

    ``person`` provides the items to retain. Raises UsageError if a pair does not fit into a prompt,
    if no scale keeps the retain set within ``config.retain_bound``, or if the pairs did not become
    less likely.
    """
    # An item with the same prompt as a pair cannot be retained and forgotten at once.
    forget = tuple(
        _tokenize_pair(person, number, pair, config) for number, pair in enumerate(pairs, 1)
    )
    keys = {item.key for item in forget}
    retain = tuple(item for item in _iter_retained(person, config) if item.key not in keys)
    config = _drop_other_answers(forget, config, listener)
    # Train, search for a scale, and truncate to the adapter's rank at every scale.
    result = unlearn_adapter(base, adapter, forget, retain, config, listener=listener)
    assert result.adapter is not None
    # Measure what is stored, including the base without an adapter as a reference.
    measured = [item.example for item in cap_measured_pairs(forget, config.train.seed)]
    done = NegationResult(
        pairs=len(forget),
        retained=len(retain),
        scale=result.scale,
        before=result.before,
        after=result.after,
        without=compute_perplexity(base, None, measured),
    )
    if not done.after.forget_perplexity > done.before.forget_perplexity:
        raise UsageError(
            f"the adapter knows as much as before; {done.summary_text}; nothing was changed: "
            "raise the bound, or train longer (train.steps)"
        )
    return result.adapter, done


def _drop_other_answers(
    forget: Sequence[TokenizedPair], config: UnlearnConfig, listener: Listener
) -> UnlearnConfig:
    """Turn off SKU's random disassociation if a prompt has no other answers to use."""
    sets = ForgetRetainSets(tuple(forget), ())
    if config.method == "sku" and config.sku.e2 and not all(map(sets.find_other_answers, forget)):
        listener(Message(text="no prompt has other answers, so SKU trains without them (sku.e2=0)"))
        config = replace(config, sku=replace(config.sku, e2=0.0))
    return config


def _tokenize_pair(
    person: PersonContext, number: int, pair: Pair, config: UnlearnConfig
) -> TokenizedPair:
    """Render a pair as a question that comes after all remaining items."""
    # A question of the task gets the full context that it would get now. Any other prompt is used
    # as it is.
    fields = parse_pair_fields(person.task, pair)
    if fields is not None:
        query = Interaction(id=f"pair {number}", position=len(person.history.items), fields=fields)
        example = person.build_query_example(query)
    else:
        example = person.prompter.encode_example(Prompt(before="", body=pair.prompt), pair.response)
    if example is None:
        raise UsageError(
            f"pair {number} is too long for prompt.max_tokens "
            f"({person.prompter.config.max_tokens}), so no adapter was trained on it"
        )
    return pair_from_example(_truncate_answer(example, config))


def _iter_retained(person: PersonContext, config: UnlearnConfig) -> Iterator[TokenizedPair]:
    """Yield the person's items as training renders them."""
    for index in range(len(person.history.items)):
        example = person.build_item_example(index)
        if example is not None:
            yield pair_from_example(_truncate_answer(example, config))


def _truncate_answer(example: Example, config: UnlearnConfig) -> Example:
    return replace(example, ids=example.ids[: example.answer_start + config.answer_tokens])
