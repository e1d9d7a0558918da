"""How far a way's numbers are from the plain ones, and how far rounding alone can take them.

Two numbers are kept for each tensor: the largest error of a token, and the largest median over the
tokens of a row. In a narrow precision some tokens of a mixture of experts go to other experts after
another rounding, so the first number can be large where nothing is wrong; the second stays small.

Shapes: ``N`` tokens of all rows; ``M`` tokens of a fast way's forward; ``D`` width of a module;
``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from idiolect.models.proof.fast_runs import FastPass
from idiolect.models.proof.plain_run import PlainRun
from idiolect.models.proof.probe_rows import ProbeRows
from idiolect.models.proof.recording import Call

WIDE_LIMITS = {torch.float64: 1e-6, torch.float32: 5e-4}
"""The largest relative error of a token in a wide precision. Rounding gives 1e-5 in float32."""
NOISE_FACTOR = 4.0
"""How many times as large as that of another rounding an error may be, in a narrow precision."""
LENIENT_FACTOR = 8.0
"""The same where float32 has shown that the way is right."""

What = tuple[str, Call]
"""``inputs``, ``gradients`` or ``logits``, and the call of a module (the same for all logits)."""
_LOGITS: What = ("logits", ("", 0))


@dataclass(frozen=True, slots=True)
class TensorError:
    """The error of one tensor, relative to the size of its tokens."""

    largest: float
    """Of all tokens."""
    typical: float
    """The median over the tokens of a row, of the row where it is largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLimits:
    """How large errors may be."""

    wide: float
    """For every tensor, if the precision is wide."""
    noise: Mapping[What, TensorError] = field(default_factory=dict[What, TensorError])
    """For each tensor, the error that another rounding gives, if the precision is narrow."""
    is_lenient: bool = False
    """In a narrow precision, look at typical errors only: the way is right in float32."""
    has_experts: bool = False
    """Then, after another rounding, a token may go to other experts, and all tokens after it get
    other numbers."""

    def find_excess(self, errors: Mapping[What, TensorError]) -> float:
        """Return the largest error that is too large; 0 if none is."""
        # Comparisons are so written that a number which is not finite is too large.
        wrong = [one.largest for what, one in errors.items() if not self._allow(what, one)]
        return max(wrong, default=0.0)

    def _allow(self, what: What, error: TensorError) -> bool:
        if not self.noise:
            return error.largest <= self.wide
        noise = self.noise[what]
        if self.is_lenient and self.has_experts:
            return error.largest < math.inf
        if self.is_lenient:
            return error.typical <= LENIENT_FACTOR * noise.typical
        return (
            error.largest <= NOISE_FACTOR * noise.largest
            and error.typical <= NOISE_FACTOR * noise.typical
        )


def measure_errors(
    plain: PlainRun, rows: ProbeRows, passes: Sequence[FastPass], *, partial: bool = False
) -> dict[What, TensorError]:
    """Return the error of every tensor of a fast way. A module that did not run counts as wrong,
    except in a ``partial`` forward."""
    errors: dict[What, TensorError] = {}
    for what, error_M, row_M in _iter_errors(plain, rows, passes, partial=partial):
        found = _summarize(error_M, row_M)
        known = errors.get(what, found)
        errors[what] = TensorError(
            max(known.largest, found.largest), max(known.typical, found.typical)
        )
    return errors


def _iter_errors(
    plain: PlainRun, rows: ProbeRows, passes: Sequence[FastPass], *, partial: bool
) -> Iterator[tuple[What, Tensor, Tensor]]:
    """Yield what is compared, the error of each token, and the tokens' rows."""
    row_N = rows.make_row_numbers()
    for one in passes:
        device = plain.logits.device
        token, stands_for = (
            torch.tensor(part, device=device) for part in zip(*one.stands_for, strict=True)
        )
        # A shared token counts once; its row is the first that has it.
        kept_M, places = token.unique(return_inverse=True)
        first_M = torch.full_like(kept_M, len(row_N)).scatter_reduce(0, places, stands_for, "amin")
        row_M = row_N[first_M.cpu()]
        for call, input_ND in plain.inputs.items():
            found = one.recording.find_input(call, one.tokens)
            if found is None:
                if not partial:
                    yield ("inputs", call), torch.full(row_M.shape, torch.inf), row_M
                continue
            yield ("inputs", call), _compare(found[kept_M], input_ND[first_M], input_ND), row_M
            if call in plain.gradients:
                # The gradient of a shared token is the sum of its gradients in all rows.
                gradient_ND = plain.gradients[call]
                summed = torch.zeros(
                    len(kept_M), gradient_ND.shape[1], dtype=_widen(gradient_ND), device=device
                ).index_add(0, places, gradient_ND[stands_for].to(_widen(gradient_ND)))
                arrived = one.recording.find_gradient(call, one.tokens)
                given = torch.zeros_like(summed) if arrived is None else arrived[kept_M]
                yield ("gradients", call), _compare(given, summed, gradient_ND), row_M
        if one.logits:
            tokens = torch.tensor(list(one.logits), device=device)
            given = torch.stack(list(one.logits.values()))
            yield _LOGITS, _compare(given, plain.logits[tokens], plain.logits), row_N[tokens.cpu()]


def measure_noise(plain: PlainRun, rounded: PlainRun, rows: ProbeRows) -> dict[What, TensorError]:
    """Return the error of every tensor of the plain way with another rounding. A tensor gets at
    least the median of its kind: luck must not make a limit tight."""
    row_N, found = rows.make_row_numbers(), dict[What, TensorError]()
    for kind, left, right in (
        ("inputs", rounded.inputs, plain.inputs),
        ("gradients", rounded.gradients, plain.gradients),
        ("logits", {("", 0): rounded.logits}, {("", 0): plain.logits}),
    ):
        errors = {
            call: _summarize(_compare(left[call], right[call], right[call]), row_N)
            for call in right
            if call in left
        }
        if not errors:
            continue
        largest = median(one.largest for one in errors.values())
        typical = median(one.typical for one in errors.values())
        found |= {
            (kind, call): TensorError(max(one.largest, largest), max(one.typical, typical))
            for call, one in errors.items()
        }
    return found


def compare_logits(
    given: Mapping[int, Tensor], plain: PlainRun, rows: ProbeRows
) -> dict[What, TensorError]:
    """Return the error of logits [V] by token of the plain run."""
    tokens = torch.tensor(list(given))
    row_M = rows.make_row_numbers()[tokens]
    right_MV = plain.logits[tokens.to(plain.logits.device)]
    error_M = _compare(torch.stack(list(given.values())), right_MV, plain.logits)
    return {_LOGITS: _summarize(error_M, row_M)}


def _compare(given: Tensor, right: Tensor, whole_ND: Tensor) -> Tensor:
    """Return the relative error of each token [M] of tensors [M, D], on the CPU.

    It is relative to the token's own size, or to the median size in the whole plain run if that is
    larger: the errors of small tokens do not matter, and one huge token must not hide the others.
    """
    wide = _widen(right)
    size_M = torch.linalg.vector_norm(right.to(wide), dim=-1)
    error_M = torch.linalg.vector_norm(given.to(wide) - right.to(wide), dim=-1)
    usual = torch.linalg.vector_norm(whole_ND.to(wide), dim=-1).median()
    relative_M = error_M / size_M.clamp_min(usual)
    # Nothing divided by nothing is no error.
    return relative_M.where(error_M > 0, 0).where(error_M.isfinite(), torch.inf).cpu()


def _summarize(error_M: Tensor, row_M: Tensor) -> TensorError:
    typical = max(float(error_M[row_M == row].median()) for row in row_M.unique())
    return TensorError(float(error_M.max()), typical)


def _widen(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
