"""A person's privacy budget: what earlier trainings in a store have spent, as the ledger tells.

The ledger's event is written before the adapter. A run that is killed in between has spent nothing
but counts: the total is an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.privacy.guarantee import Mechanism, PrivacyGuarantee, round_up_count
from idiolect.privacy.ledger import Detail, Ledger, LedgerEntry
from idiolect.training.private.accounting import compute_multiplier, make_guarantee
from idiolect.training.private.config import PrivateConfig

TRAINED = "trained"
"""The ledger's event of a training, private or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentBudget:
    """The earlier trainings of one person."""

    mechanisms: Sequence[Mechanism] = ()
    unprotected: int = 0
    """Number of trainings without privacy."""


def read_spent_budgets(ledger: Ledger | None) -> dict[str, SpentBudget]:
    """Return what each person of a ledger has spent; empty without a ledger."""
    people = ledger.read_by_person() if ledger is not None else {}
    return {person: _sum_up_entries(entries) for person, entries in people.items()}


def _sum_up_entries(entries: Sequence[LedgerEntry]) -> SpentBudget:
    trained = [entry.details for entry in entries if entry.event == TRAINED]
    private = [details for details in trained if "private_multiplier" in details]
    return SpentBudget(
        mechanisms=[
            (float(details["private_multiplier"]), int(details["private_steps"]))
            for details in private
        ],
        unprotected=len(trained) - len(private),
    )


def describe_for_ledger(config: PrivateConfig | None) -> Mapping[str, Detail]:
    """Return the entries of the ledger's event of one training; empty if it is not private."""
    if config is None:
        return {}
    return {
        "private_epsilon": config.epsilon,
        "private_delta": config.delta,
        "private_multiplier": compute_multiplier(config.epsilon, config.delta, config.steps),
        "private_steps": config.steps,
    }


def make_record_guarantee(
    config: PrivateConfig, records: int, spent: SpentBudget | None = None
) -> PrivacyGuarantee:
    """Return the guarantee of one training on this number of records, after earlier trainings."""
    spent = spent or SpentBudget()
    return make_guarantee(
        unit="record",
        epsilon=config.epsilon,
        delta=config.delta,
        mechanism=(compute_multiplier(config.epsilon, config.delta, config.steps), config.steps),
        clip=config.clip,
        rounded_count=round_up_count(records),
        basis=config.basis,
        earlier=spent.mechanisms,
        unprotected=spent.unprotected,
    )
