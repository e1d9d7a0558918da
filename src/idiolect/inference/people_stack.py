"""The adapters of the people in a batch, and the errors of those whose adapter is not usable.

A damaged or hostile adapter is its owner's error only: it gets no slot, and the rows of all other
people are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from idiolect.adapters.kinds import create_stack
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.row_groups import RowGrouper
from idiolect.adapters.stacks.base import slots_of
from idiolect.errors import IntegrityError, NotFiniteError
from idiolect.models.base import Base
from idiolect.models.model_thread import claim_model

R = TypeVar("R")
T = TypeVar("T")


class PeopleStack:
    """A stack with the adapters of some people; all others get the bare base.

    All adapters must have the same config. Raises the same errors as ``Adapter.check_matches_base``
    except IntegrityError: that is kept as the person's defect.
    """

    def __init__(self, base: Base, adapters: Mapping[str, Adapter]) -> None:
        self.base = base
        self.defects: dict[str, str] = {}
        """Why a person's adapter cannot be used, by person."""
        self._slots = {person: slot for slot, person in enumerate(adapters)}
        self._stack = None
        for person, adapter in adapters.items():
            if self._stack is None:
                self._stack = create_stack(base, adapter.config, len(adapters))
            try:
                self._stack.load_slot(self._slots[person], adapter)
            except IntegrityError as error:
                self.defects[person] = str(error)
        config = next((adapter.config for adapter in adapters.values()), None)
        self.grouper = RowGrouper.for_adapters(base, config)
        """Which rows can share a call of ``activate``."""

    def activate(
        self,
        people: Sequence[str],
        prompts: Sequence[Sequence[int]],
        width: int,
        *,
        left: bool = False,
    ) -> AbstractContextManager[None]:
        """Inside the context, the base's forward of ``width`` tokens per row, padded on one side,
        applies each row's person's adapter. No person in ``people`` may have a defect, and the rows
        must be a group of ``grouper``."""
        if self._stack is None:
            return claim_model(self.base.model)
        assert not self.defects.keys() & set(people)
        return self._stack.activate(
            slots_of(people, self._slots, self.base.device),
            active=self._stack.token_mask(prompts, width, left=left),
        )

    def run_usable(
        self,
        requests: Sequence[tuple[str, R]],
        run: Callable[[Sequence[tuple[str, R]]], Sequence[T | None]],
    ) -> list[T | None]:
        """Run the (person, ...) requests without a defect; the results are in the order of all
        requests, None for the others."""
        good = [n for n, (person, _) in enumerate(requests) if person not in self.defects]
        out: list[T | None] = [None] * len(requests)
        for n, found in zip(good, run([requests[n] for n in good]), strict=True):
            out[n] = found
        return out

    def require_finite(self, people: Sequence[str], results: Sequence[T | None]) -> list[T]:
        """Return the results of the people's rows; raises NotFiniteError if any of them is
        None."""
        reasons = {
            person: self._explain(person)
            for person, found in zip(people, results, strict=True)
            if found is None
        }
        if reasons:
            raise NotFiniteError(reasons, results)
        return [found for found in results if found is not None]

    def _explain(self, person: str) -> str:
        if person in self.defects:
            return self.defects[person]
        if person in self._slots:
            return (
                "the adapter gives numbers that are not finite; train or import it again, or "
                "forget the person"
            )
        return (
            f"the base {self.base.name} itself gives numbers that are not finite; load it with "
            "dtype float32"
        )


def keep_results(compute: Callable[[], Sequence[T]], reasons: dict[str, str]) -> list[T | None]:
    """Return the results of a call of a generator, None for rows that are not finite; their
    reasons are added to ``reasons``."""
    try:
        return list(compute())
    except NotFiniteError as error:
        reasons |= error.reasons
        return list(error.results)
