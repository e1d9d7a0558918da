"""Which rows share a forward of a base: those that keep the numbers they have alone.

All code that runs rows of several people asks here, so that it obeys ``Base.ways``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from idiolect.adapters.protocol import AdapterConfig
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.prompts.batch import batches_within_token_budget


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGrouper:
    """Groups rows into forwards, as a base and the adapters on it allow."""

    is_batched: bool
    """Whether rows may share a forward, padded on the right. If not, each row runs alone, without
    padding."""
    is_left_padded: bool
    """The same for generation, padded on the left."""
    separates_people: bool
    """Whether a forward holds rows of one person only, because an adapted module does not keep
    the rows of a batch apart."""

    @classmethod
    def for_adapters(cls, base: Base, config: AdapterConfig | None) -> RowGrouper:
        """Return the grouper for adapters of this config; None for the bare base. Raises UsageError
        if this base cannot run them."""
        flat = list_flat_targets(base, config) if config is not None else ()
        if config is not None and flat and config.active != "all":
            raise UsageError(
                f"lora.active {config.active!r}: on {base.name}, {_explain_flat(flat)}, so an "
                "adapter there cannot act on answers only; use lora.active 'all' or other "
                "lora.targets"
            )
        return cls._make(base, separates_people=bool(flat))

    @classmethod
    def for_scoring(cls, base: Base) -> RowGrouper:
        """Return the grouper for any adapters, and for none: the same rows share a forward for all
        of them, so that losses with and without an adapter round alike."""
        return cls._make(base, separates_people=bool(base.ways.flat_modules))

    @classmethod
    def _make(cls, base: Base, *, separates_people: bool) -> RowGrouper:
        ways = base.ways
        return cls(
            is_batched=ways.batched,
            is_left_padded=ways.batched and ways.left_padded,
            separates_people=separates_people,
        )

    def iter_groups(
        self, owners: Sequence[Hashable], lengths: Sequence[int], budget: int
    ) -> Iterator[tuple[int, ...]]:
        """Yield groups of row indices, each for one forward of at most ``budget`` tokens with
        padding (or one row). Row ``i`` has ``lengths[i]`` tokens and belongs to ``owners[i]``."""
        if not self.is_batched:
            budget = 1  # one row per forward
        for rows in self._split_owners(owners):
            for group in batches_within_token_budget([lengths[n] for n in rows], budget):
                yield tuple(rows[n] for n in group)

    def iter_left_padded_groups(
        self, owners: Sequence[Hashable], lengths: Sequence[int], batch: int
    ) -> Iterator[tuple[int, ...]]:
        """Yield groups of at most ``batch`` row indices, longest rows first, for generation."""
        size = batch if self.is_left_padded else 1
        for rows in self._split_owners(owners):
            # Similar lengths share a batch, so there is little padding.
            order = sorted(rows, key=lambda n: (-lengths[n], n))
            for start in range(0, len(order), size):
                yield tuple(order[start : start + size])

    def _split_owners(self, owners: Sequence[Hashable]) -> list[list[int]]:
        """Return the row indices that may share forwards."""
        if not self.separates_people:
            return [list(range(len(owners)))]
        found: dict[Hashable, list[int]] = {}
        for row, owner in enumerate(owners):
            found.setdefault(owner, []).append(row)
        return list(found.values())


def require_trainable_targets(base: Base, config: AdapterConfig) -> None:
    """Raise UsageError if adapters of this config cannot be trained on this base."""
    RowGrouper.for_adapters(base, config)
    flat = list_flat_targets(base, config)
    if flat and config.dropout:
        raise UsageError(
            f"lora.dropout {config.dropout:g}: on {base.name}, {_explain_flat(flat)}, so dropout "
            "cannot draw for each row; use lora.dropout 0 or other lora.targets"
        )


def list_flat_targets(base: Base, config: AdapterConfig) -> tuple[str, ...]:
    """Return the paths of the adapted modules that do not keep the rows of a batch apart
    (``Ways.flat_modules``)."""
    if not base.ways.flat_modules:
        return ()
    paths = config.list_target_paths(base.model)
    return tuple(path for path in paths if path in base.ways.flat_modules)


def _explain_flat(paths: Sequence[str]) -> str:
    return f"the target {paths[0].rpartition('.')[2]!r} gets the tokens of all rows in one list"
