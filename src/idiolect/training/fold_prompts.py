"""Folding of examples with the same prompt into one: the same loss with fewer tokens.

Task adaptation sees the same prompt many times if many people answer the same question (300 ratings
of one film). Cross-entropy is linear in the label, so the sum over these examples equals one
forward whose label is the count of each answer: 100,000 ratings become 1,682 prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from idiolect.prompts.render import Example


def fold_equal_prompts(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Fold examples with equal prompts and short answers; keeps the order of first appearance.

    The loss of the first answer token is exact. Later tokens (the end mark) follow the most
    frequent answer. Not folded: answers of more than one token plus the end mark, and answers of
    unequal length.
    """
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(example.ids[: example.answer_start], []).append(example)
    out: list[Example] = []
    for group in groups.values():
        # Foldable: one answer token, maybe an end mark, and not folded before.
        short = all(len(e.ids) - e.answer_start <= 2 and not e.label_counts for e in group)
        if len(group) == 1 or not short or len({len(e.ids) for e in group}) > 1:
            out += group
            continue
        # The label of the first answer token is a count per token; ties go to the smaller id.
        counts = Counter(e.ids[e.answer_start] for e in group)
        commonest = max(counts, key=lambda token: (counts[token], -token))
        model = next(e for e in group if e.ids[e.answer_start] == commonest)
        out.append(Example(model.ids, model.answer_start, tuple(sorted(counts.items()))))
    return tuple(out)
