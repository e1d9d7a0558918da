"""Texts of reports: names of methods, formatted numbers, and verdicts as sentences.

A verdict depends on the numbers only. It claims a difference only if the bootstrap interval and the
rank test both show one, with enough people; otherwise it says that no difference is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idiolect.stats.metrics import get_metric

MIN_PEOPLE = 10
"""Minimum number of people for a conclusion: with fewer, bootstrap intervals are too narrow, and
the rank test is too weak."""
ALPHA = 0.05
"""Significance level of the rank test."""

# Names in tables and pictures.
_TITLES = {
    "base": "base model",
    "rag": "base + retrieval",
    "pag": "base + profile",
    "full-history": "base + whole history",
    "oppu": "OPPU",
    "oppu+rag": "OPPU + retrieval",
    "oppu+pag": "OPPU + profile",
    "person-mean": "person's own mean",
    "person-median": "person's own median",
}
# Names in sentences, if they differ from the titles.
_PHRASES = {
    "base": "the base model",
    "oppu": "OPPU",
    "person-mean": "the person's own mean",
    "person-median": "the person's own median",
}
_GATED_SUFFIX = "(gated)"


def strip_gate_mark(method: str) -> str:
    """Return the method's name without the suffix of the do-no-harm gate."""
    return method.removesuffix(_GATED_SUFFIX).strip()


def is_gated(method: str) -> bool:
    """Return whether the do-no-harm gate was on."""
    return method.endswith(_GATED_SUFFIX)


def is_personal(method: str) -> bool:
    """Return whether the method uses personal adapters."""
    return strip_gate_mark(method).startswith("oppu")


def format_title(method: str) -> str:
    """Return the method's name for a table."""
    plain = _TITLES.get(strip_gate_mark(method), strip_gate_mark(method))
    return f"{plain}, gated" if is_gated(method) else plain


def format_phrase(method: str) -> str:
    """Return the method's name for a sentence."""
    plain = _PHRASES.get(strip_gate_mark(method), format_title(strip_gate_mark(method)))
    return f"{plain} with the do-no-harm gate" if is_gated(method) else plain


def format_number(value: float) -> str:
    """Format with three decimals, fewer if the value is large, and scientific if it is tiny.

    The minus sign is the typographic one (U+2212).
    """
    size = abs(value)
    if size < 1e-9:  # A sum of floats that should be zero.
        return "0.000"
    if size >= 0.001:
        decimals = 3 if size < 10 else 2 if size < 100 else 1
        text = f"{size:,.{decimals}f}"
    else:
        text = f"{size:.1e}"
    return f"−{text}" if value < 0 else text


def format_gain(value: float) -> str:
    """Format a gain with its sign."""
    return f"+{format_number(value)}" if value > 0 else format_number(value)


def format_interval(interval: Sequence[float]) -> str:
    """Format an interval: ``0.050 to 0.190``."""
    return f"{format_number(interval[0])} to {format_number(interval[1])}"


def format_p_phrase(p: float) -> str:
    """Format a p-value for a sentence: ``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_p_cell(p: float) -> str:
    """Format a p-value for a table cell: ``0.012`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_amount(value: float) -> str:
    """Format a count with an SI prefix: ``12.3 k``; the caller may append a unit."""
    # A no-break space keeps number and unit on one line.
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{unit}"
    return f"{value:g}\u00a0"


def format_duration(seconds: float) -> str:
    """Format seconds as ``8.2 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    # Round first: 59.96 s is "1 min 0 s", not "60.0 s".
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def draw_conclusion(test: Mapping[str, Any]) -> str:
    """Return ``ahead``, ``behind``, ``undecided`` or ``too-few`` for one paired test.

    ``ahead`` and ``behind`` need a p-value below ``ALPHA`` and an interval without zero.
    """
    if test["people"] < MIN_PEOPLE:
        return "too-few"
    low, high = test["interval"]
    if test["p"] >= ALPHA or low <= 0 <= high:
        return "undecided"
    return "ahead" if low > 0 else "behind"


def write_verdict(test: Mapping[str, Any]) -> dict[str, str]:
    """Return one paired test as a sentence, with its conclusion."""
    method, against = format_phrase(test["method"]), format_phrase(test["against"])
    name, gain = get_metric(test["metric"]).title, test["gain"]
    # The conclusion decides the form of the sentence; the figures follow in parentheses.
    conclusion = draw_conclusion(test)
    by = f"{format_number(abs(gain))} {name}"
    figures = _format_figures(test)
    if conclusion in ("ahead", "behind"):
        side = "ahead of" if conclusion == "ahead" else "behind"
        text = f"{method} is {side} {against} by {by} ({figures})."
    elif conclusion == "too-few":
        text = (
            f"{_format_people(test['people'])} too few to conclude anything: here {method} is "
            f"{_describe_tendency(gain, by)} {against} ({figures})."
        )
    else:
        here = "the same on average" if gain == 0 else f"{by} {'better' if gain > 0 else 'worse'}"
        # Undecided: give the measured difference, and the reason why it proves nothing.
        text = (
            f"{method} is not shown to differ from {against}: here it is {here}, but "
            f"{_describe_doubt(test)} ({figures})."
        )
    return {
        "method": test["method"],
        "against": test["against"],
        "metric": test["metric"],
        "conclusion": conclusion,
        "text": text[0].upper() + text[1:],
    }


def _format_people(people: int) -> str:
    return "1 person is" if people == 1 else f"{people} people are"


def _describe_tendency(gain: float, by: str) -> str:
    if gain == 0:
        return "exactly level with"
    return f"{by} {'better' if gain > 0 else 'worse'} than"


def _describe_doubt(test: Mapping[str, Any]) -> str:
    """Say why a test is undecided."""
    low, high = test["interval"]
    if (test["p"] < ALPHA) != (not low <= 0 <= high):
        return "the interval and the rank test do not agree"
    return "chance alone can explain it"


def _format_figures(test: Mapping[str, Any]) -> str:
    counts = f"better for {test['wins']} of {test['people']} people, worse for {test['losses']}"
    return (
        f"95% interval {format_interval(test['interval'])}, {format_p_phrase(test['p'])}; {counts}"
    )
