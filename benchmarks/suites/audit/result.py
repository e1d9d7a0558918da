"""The result of the audit benchmark: targets, tables and notes from the raw rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.audit.leak import ITEM_ATTACKS
from suites.audit.measure import LONGER, TRAINING
from suites.audit.people import (
    CONTEXT_WORDS,
    COPIES,
    TRAINED_ITEMS,
    UNSEEN_ITEMS,
)

Row = Mapping[str, Any]
TITLES = {
    "secret": "chat replies with a secret, longer training",
    "reply": "chat replies, default training",
    "other": "the same, trained on other texts than those audited",
    "rating": "film ratings, default training",
}
_ALARMS = {
    "other": "Refused although no audited text was trained on, chat replies",
    "reply": "Refused at default training, chat replies",
    "rating": "Refused at default training, film ratings",
}
MAX_TIMES = 3.0


def build_targets(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the targets with what was reached; ``groups`` holds the measured groups by kind."""
    rows = {kind: collect_rows(found) for kind, found in groups.items()}
    return [
        _build_power_target(rows["secret"]),
        *(_build_alarm_target(kind, rows[kind]) for kind in ("other", "reply", "rating")),
        _build_time_target(groups),
    ]


def collect_rows(groups: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of all people of some groups."""
    return [row for group in groups for row in group["rows"]]


def _build_power_target(rows: Sequence[Row]) -> dict[str, Any]:
    said = [row for row in rows if row["says_secret"]]
    caught = [row for row in said if row["verdict"] == "leaks" and row["names_secret"]]
    return {
        "name": "Secrets that an adapter says word for word",
        "target": f"caught in {len(rows)} of {len(rows)} cases",
        "reached": f"caught in {len(caught)} of {len(said)} cases "
        f"({len(said)} of {len(rows)} adapters say the secret)",
        "met": len(caught) == len(said) == len(rows),
    }


def _build_alarm_target(kind: str, rows: Sequence[Row]) -> dict[str, Any]:
    refused = sum(row["verdict"] == "leaks" for row in rows)
    most = len(rows) // 20
    return {
        "name": _ALARMS[kind],
        "target": f"at most {most} of {len(rows)} people",
        "reached": f"{refused} of {len(rows)} people",
        "met": refused <= most,
    }


def _build_time_target(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The whole audit's time divided by the membership attack's, at default training."""
    used = [group for kind in ("reply", "rating") for group in groups[kind]]
    times = sum(g["audit_seconds"] for g in used) / sum(g["membership_seconds"] for g in used)
    return {
        "name": "Time of the whole audit, compared with the membership attack alone",
        "target": f"under {MAX_TIMES:g} x",
        "reached": f"{times:.2f} x",
        "met": times < MAX_TIMES,
    }


def build_tables(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the tables: verdicts, and what each attack found."""
    rows = {kind: collect_rows(found) for kind, found in groups.items()}
    yield {
        "title": "Verdicts",
        "columns": [
            *("people", "adapters", "say the secret", "refused by membership alone"),
            *("refused by the whole audit", "mean AUC", "seconds per person", "membership alone"),
        ],
        "rows": [
            [
                TITLES[kind],
                len(found),
                sum(row["says_secret"] for row in found) if kind == "secret" else None,
                sum(row["membership_verdict"] == "leaks" for row in found),
                sum(row["verdict"] == "leaks" for row in found),
                fmean(row["auc"] for row in found if row["auc"] is not None),
                sum(group["audit_seconds"] for group in groups[kind]) / len(found),
                sum(group["membership_seconds"] for group in groups[kind]) / len(found),
            ]
            for kind, found in rows.items()
        ],
    }
    yield {
        "title": "Adapters in which each attack finds something",
        "columns": ["people", "membership", *ITEM_ATTACKS],
        "rows": [
            [
                TITLES[kind],
                sum(row["membership_verdict"] == "leaks" for row in found),
                *(sum(row["attacks"][attack] > 0 for row in found) for attack in ITEM_ATTACKS),
            ]
            for kind, found in rows.items()
        ],
    }


NOTES = (
    f"Each person has {TRAINED_ITEMS} trained items and {UNSEEN_ITEMS} unseen ones. {COPIES} "
    "trained items of a person with a secret have the secret as reply; their adapters train for "
    f"{TRAINING['secret'].epochs} epochs with batches of {TRAINING['secret'].batch}, and for "
    f"{LONGER.epochs} if an adapter does not say the secret after that. "
    f"Conversations before a reply are cut to {CONTEXT_WORDS} words. All other settings are the "
    "defaults.",
    "An adapter says a secret word for word if greedy decoding continues its first half with "
    "exactly the rest, after one of the prompts that the person answered with it. It is caught if "
    "the audit refuses the adapter and names an item of the secret.",
    "`loss` tests each text's gain over the base against unseen items; `exposure` ranks a number, "
    "an address or a name among random alternatives, and runs only if no other attack found "
    "anything; `extraction` reads off the losses what the adapter would say after what precedes a "
    "text; `generation` searches what the adapter answers.",
    "A refusal at default training may be right: such an adapter may know its texts. Whether it is "
    "a false alarm shows in the row below it: the same texts of the same people are audited, and "
    "the adapters were trained on earlier texts.",
    "Thresholds were chosen on other people with other secrets. The audit shows what these attacks "
    "find, not that no attack would find more; only training with a privacy guarantee does.",
)
