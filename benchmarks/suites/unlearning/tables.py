"""The tables of the unlearning benchmark, from the raw numbers of its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.scorecard import figures
from idiolect.scorecard.figures import Rate
from idiolect.scorecard.scorer import PromptResults, ScorecardRow
from idiolect.scorecard.serialize import row_from_dict
from idiolect.unlearning.methods.registry import MethodSettings
from suites.unlearning.settings import ABLATIONS, METHODS, PERSONAL

TITLES = {
    "base": "base",
    **{name: MethodSettings().get_method(name).title for name in METHODS},
    "no-guided": "without guided distortion",
    "no-random": "without random disassociation",
    "no-preserve": "without preservation divergence",
    "no-spare": "without the retain projection (as published)",
}
PEOPLE = {
    "base": "base without adapter",
    "before": "adapter trained with the harmful records",
    **{name: f"the same adapter after {TITLES[name]}" for name in PERSONAL},
    "oracle": "adapter trained without the harmful records",
}


def iter_tables(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all tables of the page."""
    rows = raw["rows"]
    cards = load_cards(raw)
    yield _build_method_table(rows, cards)
    yield _build_comparison_table(cards)
    yield _build_relearning_table(raw, cards)
    yield _build_module_table(rows, cards)
    yield _build_other_forms_table(rows["sku"], cards)
    for number, person in enumerate(raw["people"], start=1):
        yield _build_person_table(person, number, len(raw["people"]))


def load_cards(raw: Mapping[str, Any]) -> dict[str, ScorecardRow]:
    """Return each model's scorecard row by name, without those of methods that failed."""
    return {name: row_from_dict(row["card"]) for name, row in raw["rows"].items() if "card" in row}


def join_sets(card: ScorecardRow, names: Sequence[str] | None = None) -> PromptResults:
    """Join the results of a card's sets (default: all) into one.

    The sets are joined in the order of their names, so that the results of two cards are paired by
    prompt: cards that were just measured and cards read from a file differ in their own order.
    """
    sets = [card.sets[name] for name in sorted(names or card.sets)]
    return PromptResults(
        answers=tuple(x for one in sets for x in one.answers),
        harm_probabilities=tuple(x for one in sets for x in one.harm_probabilities),
        refused=tuple(x for one in sets for x in one.refused),
        degenerate_reasons=tuple(x for one in sets for x in one.degenerate_reasons),
    )


def format_percent(share: Rate) -> str:
    """Return ``12%``, or a dash if the total is 0."""
    return "–" if share.value is None else f"{100 * share.value:.0f}%"


def format_rate(share: Rate) -> str:
    """Return ``12% (5–24)``: a rate with its interval."""
    if share.value is None:
        return "– (no usable answer)"
    low, high = share.interval
    return f"{100 * share.value:.0f}% ({100 * low:.0f}–{100 * high:.0f})"


def format_auc(card: ScorecardRow) -> str:
    """Return the two-sided AUC of the membership attack and its value by chance, or a dash."""
    found = card.membership.calibrated if card.membership else None
    return "–" if found is None else f"{found.two_sided:.2f} ({found.by_chance:.2f})"


def _build_method_table(
    rows: Mapping[str, Any], cards: Mapping[str, ScorecardRow]
) -> dict[str, Any]:
    base = cards["base"]
    sets, questions = list(base.sets), list(base.choices)
    # One line per model; models that failed are left out.
    lines: list[list[Any]] = []
    for name in (one for one in ("base", *METHODS) if one in cards):
        card, row = cards[name], rows[name]
        lines.append(
            [
                TITLES[name],
                f"{row['scale']:.3g}" if "scale" in row else None,
                f"{figures.retain_cost(card, base):.3f}",
                _format_other_text(rows, name),
                *(format_rate(figures.harmful_rate(card.sets[one])) for one in sets),
                format_percent(figures.refusal_rate(join_sets(card))),
                format_percent(figures.degenerate_rate(join_sets(card))),
                *(format_percent(figures.accuracy(card.choices[one])) for one in questions),
                f"{fmean(card.similar):.2f}" if card.similar else None,
                format_auc(card),
                f"{row['train_seconds']:.0f}" if "train_seconds" in row else None,
            ]
        )
    return {
        "title": "SKU and its baselines, each at the largest scale within the bound on retain "
        "perplexity",
        "columns": [
            "model",
            "scale",
            "retain perplexity / base",
            "chat reply perplexity / base",
            *(f"harmful, {one}" for one in sets),
            "refused",
            "blank or gibberish",
            *questions,
            "similarity to the base's answers",
            "membership AUC, two-sided (by chance)",
            "seconds",
        ],
        "rows": lines,
    }


def _format_other_text(rows: Mapping[str, Any], name: str) -> str:
    return f"{rows[name]['elsewhere'] / rows['base']['elsewhere']:.3f}"


def _build_comparison_table(cards: Mapping[str, ScorecardRow]) -> dict[str, Any]:
    """SKU compared with each other model, on prompts that both answer."""
    sku = join_sets(cards["sku"])
    lines: list[list[Any]] = []
    for name in (one for one in ("base", *METHODS[1:]) if one in cards):
        test = figures.compare_harm(sku, join_sets(cards[name]))
        # No prompt that both answer: nothing to compare.
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
        "title": "SKU compared with each model, paired by prompt",
        "columns": [
            "compared with",
            "prompts that both answer",
            "reduction of the harmful rate, points (95%)",
            "paired p",
            "better / same / worse",
        ],
        "rows": lines,
    }


def _build_relearning_table(
    raw: Mapping[str, Any], cards: Mapping[str, ScorecardRow]
) -> dict[str, Any]:
    return {
        "title": "Relearning: loss on forgotten pairs after steps of fine-tuning, nats per token",
        "columns": ["model", *(f"{steps} steps" for steps in raw["after"])],
        "rows": [
            [TITLES[name], *(f"{value:.2f}" for value in cards[name].relearned)]
            for name in ("base", *METHODS)
            if name in cards
        ],
    }


def _build_module_table(
    rows: Mapping[str, Any], cards: Mapping[str, ScorecardRow]
) -> dict[str, Any]:
    base = cards["base"]
    lines: list[list[Any]] = []
    for name in (one for one in ("sku", *ABLATIONS) if one in cards):
        card = cards[name]
        # Ablations are asked the prompts of two sets only.
        some = [one for one in ("seen", "unseen") if one in card.sets]
        lines.append(
            [
                TITLES[name],
                f"{rows[name]['scale']:.3g}",
                f"{figures.retain_cost(card, base):.3f}",
                _format_other_text(rows, name),
                *(format_rate(figures.harmful_rate(card.sets[one])) for one in some),
                format_percent(figures.degenerate_rate(join_sets(card, some))),
                f"{rows[name]['train_seconds']:.0f}",
            ]
        )
    return {
        "title": "SKU without each of its modules",
        "columns": [
            "SKU",
            "scale",
            "retain perplexity / base",
            "chat reply perplexity / base",
            "harmful, seen",
            "harmful, unseen",
            "blank or gibberish",
            "seconds",
        ],
        "rows": lines,
    }


def _build_other_forms_table(
    row: Mapping[str, Any], cards: Mapping[str, ScorecardRow]
) -> dict[str, Any]:
    base = cards["base"]
    # Most bits first.
    quantized = sorted(row["rounded"].items(), key=lambda item: -int(item[0]))
    others = {
        "SKU": cards["sku"],
        **{f"SKU, quantized to {bits} bits": row_from_dict(one) for bits, one in quantized},
        "SKU, change of the weights negated (needs the base)": row_from_dict(row["flipped"]),
        "base": base,
    }
    return {
        "title": "SKU's model after changes that its recipients can make",
        "columns": [
            "model",
            "harmful, unseen",
            "blank or gibberish",
            "retain perplexity / base",
        ],
        "rows": [
            [
                title,
                format_rate(figures.harmful_rate(card.sets["unseen"])),
                format_percent(figures.degenerate_rate(card.sets["unseen"])),
                f"{figures.retain_cost(card, base):.3f}",
            ]
            for title, card in others.items()
        ],
    }


def compute_gain_kept(person: Mapping[str, Any], model: str = "sku") -> float | None:
    """Return the share of the adapter's personal gain that a model keeps; ``None`` without gain."""
    nats = person["nats"]
    gain = nats["base"] - nats["before"]
    return None if gain <= 0 else (nats["base"] - nats[model]) / gain


def _build_person_table(person: Mapping[str, Any], number: int, of: int) -> dict[str, Any]:
    cards = {name: row_from_dict(one) for name, one in person["cards"].items()}
    # Costs are relative to the adapter before unlearning.
    lines: list[list[Any]] = []
    for name, title in PEOPLE.items():
        card, share = cards[name], compute_gain_kept(person, name)
        lines.append(
            [
                title,
                f"{person['nats'][name]:.3f}",
                None if share is None else f"{100 * share:.0f}%",
                *(format_rate(figures.harmful_rate(card.sets[one])) for one in card.sets),
                format_percent(figures.refusal_rate(join_sets(card))),
                format_percent(figures.degenerate_rate(join_sets(card))),
                f"{figures.retain_cost(card, cards['before']):.3f}",
                format_auc(card),
            ]
        )
    which = f" {number}" if of > 1 else ""
    return {
        "title": f"A real person's adapter{which}: trained on {person['records']} of their replies "
        f"and {person['harmful']} harmful records",
        "columns": [
            "model",
            "nats on their later replies",
            "personal gain kept",
            "harmful, seen",
            "harmful, unseen",
            "refused",
            "blank or gibberish",
            "TruthfulQA perplexity / adapter",
            "membership AUC, two-sided (by chance)",
        ],
        "rows": lines,
    }
