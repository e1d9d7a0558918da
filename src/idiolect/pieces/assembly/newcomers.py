"""What assembling starts from: newcomers' usable items, checked, and a pool that fits the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.adapters.lora import target_modules
from idiolect.errors import DataError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True)
class TargetUser:
    """Somebody without an adapter, and the items that speak for them, in time order."""

    person: str
    examples: tuple[Example, ...]

    @property
    def num_tokens(self) -> int:
        """What runs, counted row by row."""
        return sum(len(e.ids) - 1 for e in self.examples)


def check_target_users(
    base: Base, pool: Pool, newcomers: Mapping[str, Sequence[Example]], config: AssembleConfig
) -> list[TargetUser]:
    """Newcomers with their items that have target tokens, of these the latest ``recent_k``.

    Raises MismatchError for a pool of another base, UsageError where the pool is too small, and
    DataError for a newcomer with no history or no target token.
    """
    pool.check_compatible(base=base.identity)
    if tuple(site.path for site in target_modules(base.model, pool.lora)) != pool.sites:
        raise MismatchError(f"{pool.folder}: the pool's modules are not those of base {base.name}")
    require_enough_sharers(pool, config)
    return [
        TargetUser(person, _select_usable(person, examples, config.recent_k))
        for person, examples in newcomers.items()
    ]


def require_enough_sharers(pool: Pool, config: AssembleConfig) -> None:
    """Raise UsageError where a pool has fewer sharers than pieces are asked for."""
    if not pool.sharers:
        raise UsageError(f"{pool.folder}: nobody is in this pool; share adapters first")
    if not config.top_p and config.top_k > len(pool.sharers):
        raise UsageError(
            f"assemble.top_k: {config.top_k} pieces a module, but {pool.folder} has only "
            f"{len(pool.sharers)} sharers; ask for fewer, or share more adapters"
        )


def _select_usable(person: str, examples: Sequence[Example], recent: int) -> tuple[Example, ...]:
    if not examples:
        raise DataError(
            f"newcomer {person!r}: the history is empty, so no piece can be chosen; "
            "leave them to the base"
        )
    usable = [e for e in examples if e.num_targets > 0]
    if not usable:
        raise DataError(
            f"newcomer {person!r}: none of {len(examples)} items has a target token, so no piece "
            "can be chosen; are their answers empty, or too long for prompt.max_tokens?"
        )
    return tuple(usable[-recent:])


def make_flat_input_error(person: str, path: str) -> DataError:
    """The error for a module's input that cannot be scored."""
    return DataError(
        f"newcomer {person!r}: the input of {path} where an answer token is predicted is the same "
        "in all its entries, or not finite, so no gate fits it; leave them to the base, or look "
        "for the item with: idiolect inspect"
    )
