"""The benchmark's tables, from its raw numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.scorecard import figures
from idiolect.scorecard.figures import Share
from idiolect.scorecard.scorer import Asked, Card
from idiolect.scorecard.serialize import card_of
from idiolect.unlearning.methods.registry import Methods
from suites.unlearning.settings import ABLATIONS, METHODS, PERSONAL

TITLES = {
    "base": "the base",
    **{name: Methods().of(name).title for name in METHODS},
    "no-guided": "without guided distortion",
    "no-random": "without random disassociation",
    "no-preserve": "without preservation divergence",
    "no-spare": "without sparing (as published)",
}
PEOPLE = {
    "base": "the bare base",
    "before": "their adapter, harmful records in it",
    **{name: f"the same after {TITLES[name]}" for name in PERSONAL},
    "oracle": "trained without the harmful records",
}


def tables(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every table of the page."""
    rows = raw["rows"]
    cards = cards_of(raw)
    yield _methods(rows, cards)
    yield _against(cards)
    yield _relearning(raw, cards)
    yield _modules(rows, cards)
    yield _other_forms(rows["sku"], cards)
    for number, person in enumerate(raw["people"], start=1):
        yield _person(person, number, len(raw["people"]))


def cards_of(raw: Mapping[str, Any]) -> dict[str, Card]:
    """Every row's card; what failed has none."""
    return {name: card_of(row["card"]) for name, row in raw["rows"].items() if "card" in row}


def together(card: Card, names: Sequence[str] | None = None) -> Asked:
    """A card's sets as one."""
    sets = [card.sets[name] for name in names or card.sets]
    return Asked(
        answers=tuple(x for one in sets for x in one.answers),
        chances=tuple(x for one in sets for x in one.chances),
        refused=tuple(x for one in sets for x in one.refused),
        faults=tuple(x for one in sets for x in one.faults),
    )


def percent(share: Share) -> str:
    """``12%``; a dash where there was nothing."""
    return "–" if share.rate is None else f"{100 * share.rate:.0f}%"


def spread(share: Share) -> str:
    """``12% (5–24)``: with its interval."""
    if share.rate is None:
        return "– (nothing said)"
    low, high = share.interval
    return f"{100 * share.rate:.0f}% ({100 * low:.0f}–{100 * high:.0f})"


def auc(card: Card) -> str:
    """The two-sided AUC and what chance alone gives."""
    found = card.membership.calibrated if card.membership else None
    return "–" if found is None else f"{found.two_sided:.2f} ({found.by_chance:.2f})"


def _methods(rows: Mapping[str, Any], cards: Mapping[str, Card]) -> dict[str, Any]:
    base = cards["base"]
    sets, questions = list(base.sets), list(base.choices)
    lines: list[list[Any]] = []
    for name in (one for one in ("base", *METHODS) if one in cards):
        card, row = cards[name], rows[name]
        lines.append(
            [
                TITLES[name],
                f"{row['scale']:.3g}" if "scale" in row else None,
                f"{figures.cost(card, base):.3f}",
                _elsewhere(rows, name),
                *(spread(figures.harmful(card.sets[one])) for one in sets),
                percent(figures.refused(together(card))),
                percent(figures.nothing(together(card))),
                *(percent(figures.right(card.choices[one])) for one in questions),
                f"{fmean(card.similar):.2f}" if card.similar else None,
                auc(card),
                f"{row['train_seconds']:.0f}" if "train_seconds" in row else None,
            ]
        )
    return {
        "title": "SKU and its baselines, each at the largest scale that retain text bears",
        "columns": [
            "model",
            "scale",
            "retain perplexity, times the base's",
            "chat replies' perplexity, likewise",
            *(f"harmful, {one}" for one in sets),
            "refused",
            "blank or gibberish",
            *questions,
            "likeness to the base's answers",
            "membership AUC, two-sided (by chance)",
            "seconds",
        ],
        "rows": lines,
    }


def _elsewhere(rows: Mapping[str, Any], name: str) -> str:
    return f"{rows[name]['elsewhere'] / rows['base']['elsewhere']:.3f}"


def _against(cards: Mapping[str, Card]) -> dict[str, Any]:
    sku = together(cards["sku"])
    lines: list[list[Any]] = []
    for name in (one for one in ("base", *METHODS[1:]) if one in cards):
        test = figures.less_harmful(sku, together(cards[name]))
        if test is None:
            lines.append([TITLES[name], 0, None, None, None])
            continue
        low, high = (100 * end for end in test.interval)
        lines.append(
            [
                TITLES[name],
                test.people,
                f"{100 * test.gain:+.0f} ({low:+.0f} to {high:+.0f})",
                f"{test.p:.3f}",
                f"{test.wins} / {test.ties} / {test.losses}",
            ]
        )
    return {
        "title": "SKU against each, prompt by prompt",
        "columns": [
            "against",
            "prompts that both answer",
            "harmful less, points (95%)",
            "paired p",
            "better / same / worse",
        ],
        "rows": lines,
    }


def _relearning(raw: Mapping[str, Any], cards: Mapping[str, Card]) -> dict[str, Any]:
    return {
        "title": "Relearning: loss on forgotten pairs, nats a token, after steps of fine-tuning",
        "columns": ["model", *(f"{steps} steps" for steps in raw["after"])],
        "rows": [
            [TITLES[name], *(f"{value:.2f}" for value in cards[name].relearned)]
            for name in ("base", *METHODS)
            if name in cards
        ],
    }


def _modules(rows: Mapping[str, Any], cards: Mapping[str, Card]) -> dict[str, Any]:
    base = cards["base"]
    lines: list[list[Any]] = []
    for name in (one for one in ("sku", *ABLATIONS) if one in cards):
        card = cards[name]
        some = [one for one in ("seen", "unseen") if one in card.sets]
        lines.append(
            [
                TITLES[name],
                f"{rows[name]['scale']:.3g}",
                f"{figures.cost(card, base):.3f}",
                _elsewhere(rows, name),
                *(spread(figures.harmful(card.sets[one])) for one in some),
                percent(figures.nothing(together(card, some))),
                f"{rows[name]['train_seconds']:.0f}",
            ]
        )
    return {
        "title": "SKU's modules",
        "columns": [
            "SKU",
            "scale",
            "retain perplexity, times the base's",
            "chat replies' perplexity, likewise",
            "harmful, seen",
            "harmful, unseen",
            "blank or gibberish",
            "seconds",
        ],
        "rows": lines,
    }


def _other_forms(row: Mapping[str, Any], cards: Mapping[str, Card]) -> dict[str, Any]:
    base = cards["base"]
    others = {
        "SKU as it is": cards["sku"],
        **{f"rounded to {bits} bits": card_of(one) for bits, one in row["rounded"].items()},
        "sign flipped, by whoever has the base too": card_of(row["flipped"]),
        "the base": base,
    }
    return {
        "title": "SKU's model in other hands",
        "columns": [
            "model",
            "harmful, unseen",
            "blank or gibberish",
            "retain perplexity, times the base's",
        ],
        "rows": [
            [
                title,
                spread(figures.harmful(card.sets["unseen"])),
                percent(figures.nothing(card.sets["unseen"])),
                f"{figures.cost(card, base):.3f}",
            ]
            for title, card in others.items()
        ],
    }


def kept(person: Mapping[str, Any], model: str = "sku") -> float | None:
    """Which share of the adapter's personal gain a model has."""
    nats = person["nats"]
    gain = nats["base"] - nats["before"]
    return None if gain <= 0 else (nats["base"] - nats[model]) / gain


def _person(person: Mapping[str, Any], number: int, of: int) -> dict[str, Any]:
    cards = {name: card_of(one) for name, one in person["cards"].items()}
    lines: list[list[Any]] = []
    for name, title in PEOPLE.items():
        card, share = cards[name], kept(person, name)
        lines.append(
            [
                title,
                f"{person['nats'][name]:.3f}",
                None if share is None else f"{100 * share:.0f}%",
                *(spread(figures.harmful(card.sets[one])) for one in card.sets),
                percent(figures.refused(together(card))),
                percent(figures.nothing(together(card))),
                f"{figures.cost(card, cards['before']):.3f}",
                auc(card),
            ]
        )
    which = f" {number}" if of > 1 else ""
    return {
        "title": f"A real person's adapter{which}: {person['records']} of their replies and "
        f"{person['harmful']} harmful records",
        "columns": [
            "model",
            "nats on their later replies",
            "of the personal gain",
            "harmful, seen",
            "harmful, unseen",
            "refused",
            "blank or gibberish",
            "TruthfulQA perplexity, times the adapter's",
            "membership AUC, two-sided (by chance)",
        ],
        "rows": lines,
    }
