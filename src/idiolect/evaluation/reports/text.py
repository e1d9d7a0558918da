"""How a report puts methods and numbers into words; knows the report's fields, no files.

A verdict is generated from the numbers alone. It claims a difference only where the bootstrap
interval and the rank test both show one, over enough people; otherwise it says that it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idiolect.stats.metrics import get_metric

MIN_PEOPLE = 10
"""Below this many people nothing is concluded: the intervals are too narrow, the tests too weak."""
ALPHA = 0.05

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
_PHRASES = {
    "base": "the base model",
    "oppu": "OPPU",
    "person-mean": "the person's own mean",
    "person-median": "the person's own median",
}
_GATED_SUFFIX = "(gated)"


def strip_gate_mark(method: str) -> str:
    """The method's name without the mark of the do-no-harm gate."""
    return method.removesuffix(_GATED_SUFFIX).strip()


def is_gated(method: str) -> bool:
    """Whether the do-no-harm gate was on."""
    return method.endswith(_GATED_SUFFIX)


def is_personal(method: str) -> bool:
    """Whether the method answers with a personal adapter."""
    return strip_gate_mark(method).startswith("oppu")


def format_title(method: str) -> str:
    """What a table calls the method."""
    plain = _TITLES.get(strip_gate_mark(method), strip_gate_mark(method))
    return f"{plain}, gated" if is_gated(method) else plain


def format_phrase(method: str) -> str:
    """What a sentence calls the method."""
    plain = _PHRASES.get(strip_gate_mark(method), format_title(strip_gate_mark(method)))
    return f"{plain} with the do-no-harm gate" if is_gated(method) else plain


def format_number(value: float) -> str:
    """Three decimals, fewer for large numbers and more for tiny ones; a real minus sign."""
    size = abs(value)
    if size < 1e-9:  # what sums of floats leave of a zero
        return "0.000"
    if size >= 0.001:
        decimals = 3 if size < 10 else 2 if size < 100 else 1
        text = f"{size:,.{decimals}f}"
    else:
        text = f"{size:.1e}"
    return f"−{text}" if value < 0 else text


def format_gain(value: float) -> str:
    """A gain with its sign."""
    return f"+{format_number(value)}" if value > 0 else format_number(value)


def format_interval(interval: Sequence[float]) -> str:
    """An interval's two ends."""
    return f"{format_number(interval[0])} to {format_number(interval[1])}"


def format_p_phrase(p: float) -> str:
    """A p-value as ``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_p_cell(p: float) -> str:
    """A p-value as a table cell: ``0.012`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_amount(value: float) -> str:
    """A count in thousands or millions: ``12.3 k``; a unit may follow."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{unit}"
    return f"{value:g}\u00a0"


def format_duration(seconds: float) -> str:
    """Seconds as a person says them: ``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def draw_conclusion(test: Mapping[str, Any]) -> str:
    """``ahead``, ``behind``, ``undecided`` or ``too-few``, from one paired test."""
    if test["people"] < MIN_PEOPLE:
        return "too-few"
    low, high = test["interval"]
    if test["p"] >= ALPHA or low <= 0 <= high:
        return "undecided"
    return "ahead" if low > 0 else "behind"


def write_verdict(test: Mapping[str, Any]) -> dict[str, str]:
    """One paired test as a plain sentence, with what may be concluded."""
    method, against = format_phrase(test["method"]), format_phrase(test["against"])
    name, gain = get_metric(test["metric"]).title, test["gain"]
    found = draw_conclusion(test)
    by = f"{format_number(abs(gain))} {name}"
    figures = _format_figures(test)
    if found in ("ahead", "behind"):
        side = "ahead of" if found == "ahead" else "behind"
        text = f"{method} is {side} {against} by {by} ({figures})."
    elif found == "too-few":
        text = (
            f"{_format_people(test['people'])} too few to conclude anything: here {method} is "
            f"{_describe_tendency(gain, by)} {against} ({figures})."
        )
    else:
        here = "the same on average" if gain == 0 else f"{by} {'better' if gain > 0 else 'worse'}"
        text = (
            f"{method} is not shown to differ from {against}: here it is {here}, but "
            f"{_describe_doubt(test)} ({figures})."
        )
    return {
        "method": test["method"],
        "against": test["against"],
        "metric": test["metric"],
        "conclusion": found,
        "text": text[0].upper() + text[1:],
    }


def _format_people(people: int) -> str:
    return "1 person is" if people == 1 else f"{people} people are"


def _describe_tendency(gain: float, by: str) -> str:
    if gain == 0:
        return "exactly level with"
    return f"{by} {'better' if gain > 0 else 'worse'} than"


def _describe_doubt(test: Mapping[str, Any]) -> str:
    low, high = test["interval"]
    if (test["p"] < ALPHA) != (not low <= 0 <= high):
        return "the interval and the rank test do not agree"
    return "chance alone can do as much"


def _format_figures(test: Mapping[str, Any]) -> str:
    counts = f"better for {test['wins']} of {test['people']} people, worse for {test['losses']}"
    return (
        f"95% interval {format_interval(test['interval'])}, {format_p_phrase(test['p'])}; {counts}"
    )
