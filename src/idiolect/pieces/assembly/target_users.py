"""Checked input of assembling: target users with their usable items, and a pool that fits the
base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.lora import target_modules
from idiolect.errors import DataError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True)
class TargetUser:
    """A person without an adapter, and the usable items of their history in time order."""

    person: str
    examples: tuple[Example, ...]

    @property
    def num_tokens(self) -> int:
        """Number of tokens to run, without shared prefixes."""
        return sum(len(e.ids) - 1 for e in self.examples)


def check_target_users(
    base: Base, pool: Pool, target_users: Mapping[str, Sequence[Example]], config: AssembleConfig
) -> list[TargetUser]:
    """Return the target users with their usable items: with target tokens, the latest
    ``recent_k``.

    Raises MismatchError for a pool of another base, UsageError if the pool is too small, DataError
    for a target user with no history or no target token.
    """
    pool.check_compatible(base=base.identity)
    if tuple(site.path for site in target_modules(base.model, pool.lora)) != pool.sites:
        raise MismatchError(
            f"{pool.folder}: the pool's modules differ from those of base {base.name}"
        )
    require_enough_sharers(pool.folder, len(pool.sharers), config)
    return [
        TargetUser(person, _select_usable(person, examples, config.recent_k))
        for person, examples in target_users.items()
    ]


def require_enough_sharers(pool: Path, sharers: int, config: AssembleConfig) -> None:
    """Raise UsageError if a pool is empty or has fewer sharers than ``top_k``."""
    if not sharers:
        raise UsageError(f"{pool}: this pool has no sharers; share adapters first")
    # ``top_p`` takes as many pieces as it needs, so any pool is large enough.
    if not config.top_p and config.top_k > sharers:
        raise UsageError(
            f"assemble.top_k: {config.top_k} pieces per module, but {pool} has only "
            f"{sharers} sharers; set a smaller top_k, or share more adapters"
        )


def _select_usable(person: str, examples: Sequence[Example], recent: int) -> tuple[Example, ...]:
    if not examples:
        raise DataError(
            f"target user {person!r}: the history is empty, so no piece can be chosen; "
            "let the base serve this person"
        )
    usable = [e for e in examples if e.num_targets > 0]
    if not usable:
        raise DataError(
            f"target user {person!r}: none of {len(examples)} items has a target token, so no "
            "piece can be chosen; are their answers empty, or too long for prompt.max_tokens?"
        )
    return tuple(usable[-recent:])


def make_flat_input_error(person: str, path: str) -> DataError:
    """Return the error for a module input that cannot be scored."""
    return DataError(
        f"target user {person!r}: at a position that predicts an answer token, the input of "
        f"{path} has the same value in all entries, or is not finite, so no gate can score it; "
        "let the base serve this person, or look for the item with: idiolect inspect"
    )
