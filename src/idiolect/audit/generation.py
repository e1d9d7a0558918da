"""Extraction by generation: what an artifact says, greedily and by sampling, when it answers.

The losses already show every text that an artifact would say verbatim after what precedes it
(``extraction.py``). Generation also finds what comes out of other prompts, or with small
differences. Each person's artifact answers prompts that it was trained on, prompts that it never
saw, and its riskiest items with the first half of their answer given (Carlini et al., arXiv
2202.07646). What it says is searched for the person's own texts. If some are found, the base
answers the same prompts: what it says, too, is no leak.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from idiolect.adapters.protocol import Adapter
from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import Leak
from idiolect.audit.personal_strings import contains_string
from idiolect.audit.plan import AuditPlan
from idiolect.audit.traces import Attacked, ItemTrace
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.privacy.search.patterns import normalize_text

ASKED_ITEMS = 6
"""Items of each kind that are asked of one artifact: with and without the first half of their
answer, and unseen ones."""
ANSWER_TOKENS = 24
"""Enough for a sentence with a number or an address in it."""
_MIN_WORDS = 4
"""Words in a row that count as a text of the person."""
_ROWS_PER_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A prompt for one person's artifact, with the text that it shows."""

    person: str
    ids: tuple[int, ...]
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """A text of the person in an answer."""

    request: int
    needle: str
    """The text, normalized."""
    leak: Leak


def find_generated_texts(
    base: Base, people: Sequence[Attacked], config: LeakageConfig
) -> dict[str, list[Leak]]:
    """Return, by person, the texts and personal strings that the artifacts say; one leak per text.

    The artifacts of all people answer in the same batches.
    """
    leaks: dict[str, list[Leak]] = {one.plan.subject.person: [] for one in people}
    asked = [(one, request) for one in people for request in _iter_requests(base, one, config)]
    requests = [request for _, request in asked]
    if not requests:
        return leaks
    adapters = {one.plan.subject.person: one.adapter for one in people if one.adapter is not None}
    answers = _generate(base, adapters, requests, config)
    hits = [
        hit
        for number, (one, request) in enumerate(asked)
        for answer in answers[number]
        for hit in _iter_hits(one, request, number, answer, config)
    ]
    if not hits:
        return leaks
    # Only now the base answers, and only the prompts with a hit.
    numbers = sorted({hit.request for hit in hits})
    plain = dict(
        zip(numbers, _generate(base, {}, [requests[n] for n in numbers], config), strict=True)
    )
    for hit in hits:
        known = leaks[requests[hit.request].person]
        said = any(hit.needle in normalize_text(text) for text in plain[hit.request])
        if not said and all(
            (one.kind, one.items) != (hit.leak.kind, hit.leak.items) for one in known
        ):
            known.append(hit.leak)
    return leaks


def _iter_requests(base: Base, one: Attacked, config: LeakageConfig) -> Iterator[_Request]:
    """Yield the prompts of one person; none if no answer contains enough to be a leak."""
    plan, traces = one.plan, one.traces
    # Riskiest first: items with personal strings or repeated texts, then those with the most gain.
    marked = {p.item for text in (*plan.strings, *plan.repeated_texts) for p in text.places}
    risks = {
        item: (item in marked, trace.gain())
        for item, trace in traces.items()
        # The end of the answer is not part of the text.
        if trace.sum_base(0, len(trace.answer)) >= config.personal_surprise
    }
    chosen = sorted(risks, key=lambda item: risks[item], reverse=True)[:ASKED_ITEMS]
    person, decode = plan.subject.person, base.tokenizer.decode
    prompts: dict[tuple[int, ...], None] = {}
    for item in chosen:
        example, half = traces[item].example, len(traces[item].answer) // 2
        prompts.setdefault(example.ids[: example.answer_start + half])
        prompts.setdefault(example.ids[: example.answer_start])
    if chosen:
        for example in plan.subject.non_members[:ASKED_ITEMS]:
            prompts.setdefault(example.ids[: example.answer_start])
    for ids in prompts:
        yield _Request(person=person, ids=ids, shown=normalize_text(str(decode([*ids]))))


def _generate(
    base: Base,
    adapters: Mapping[str, Adapter],
    requests: Sequence[_Request],
    config: LeakageConfig,
) -> list[tuple[str, str]]:
    """Return a greedy and a sampled answer to each prompt."""
    generator = Generator(base, adapters)
    prompts = [(request.person, request.ids) for request in requests]
    greedy = generator.generate_greedy(prompts, max_tokens=ANSWER_TOKENS, batch=_ROWS_PER_BATCH)
    drawn = generator.generate_samples(
        prompts, max_tokens=ANSWER_TOKENS, seed=config.seed, batch=_ROWS_PER_BATCH
    )
    return list(zip(greedy, drawn, strict=True))


def _iter_hits(
    one: Attacked, request: _Request, number: int, answer: str, config: LeakageConfig
) -> Iterator[_Hit]:
    """Yield what an answer says of the person's texts, except what the prompt shows."""
    plan = one.plan
    for own in plan.strings:
        places = [p for p in own.places if p.item in one.traces]
        surprise = min((one.traces[p.item].sum_base(p.start, p.end) for p in places), default=0.0)
        if (
            surprise >= config.personal_surprise
            and contains_string(own.kind, own.key, answer)
            and not contains_string(own.kind, own.key, request.shown)
        ):
            items = tuple(sorted({p.item for p in own.places}))
            leak = Leak(attack="generation", kind=own.kind, items=items, strength=surprise)
            yield _Hit(request=number, needle=normalize_text(own.text), leak=leak)
    said = normalize_text(answer)
    for item in one.traces:
        shared = _find_shared_words(normalize_text(plan.texts[item]), said)
        if not shared or shared in request.shown:
            continue
        # How surprising the shared words are to the base, at their place in the item.
        surprise = _measure_surprise(plan, one.traces[item], item, shared)
        if surprise >= config.surprise:
            kind, items = plan.name_text(item)
            leak = Leak(attack="generation", kind=kind, items=items, strength=surprise)
            yield _Hit(request=number, needle=shared, leak=leak)


def _find_shared_words(text: str, said: str) -> str:
    """Return the longest run of words that both texts contain; empty below ``_MIN_WORDS``."""
    first, second = text.split(), said.split()
    if len({*first} & {*second}) < _MIN_WORDS:
        return ""
    match = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    return " ".join(first[match.a : match.a + match.size]) if match.size >= _MIN_WORDS else ""


def _measure_surprise(plan: AuditPlan, trace: ItemTrace, item: int, shared: str) -> float:
    """Return the base's loss of some words of an answer, in nats; 0 if normalization hides them."""
    words = r"\s+".join(map(re.escape, shared.split()))
    found = re.search(words, plan.texts[item], re.IGNORECASE)
    if found is None:
        return 0.0
    return trace.sum_base(*plan.locate_span(item, *found.span()))
