"""Fold examples with the same prompt into one: the same loss for a fraction of the tokens.

Task adaptation sees one prompt many times where many people answer the same question (a film with
three hundred ratings). Cross-entropy is linear in the label, so the sum over them equals
one forward with the counts of the answers as label: 100,000 ratings become 1,682 prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from idiolect.prompts.render import Example


def fold_equal_prompts(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Examples with equal prompts and short answers as one each, in order of first appearance.

    Exact for the first answer token; later ones (the end mark) stand behind the commonest answer.
    Answers of more than one token and the end mark, or of unequal length, are left as they are.
    """
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(example.ids[: example.answer_start], []).append(example)
    out: list[Example] = []
    for group in groups.values():
        short = all(len(e.ids) - e.answer_start <= 2 and not e.label_counts for e in group)
        if len(group) == 1 or not short or len({len(e.ids) for e in group}) > 1:
            out += group
            continue
        counts = Counter(e.ids[e.answer_start] for e in group)
        commonest = max(counts, key=lambda token: (counts[token], -token))
        model = next(e for e in group if e.ids[e.answer_start] == commonest)
        out.append(Example(model.ids, model.answer_start, tuple(sorted(counts.items()))))
    return tuple(out)
