"""Tries every fast way of running a base, and says which give the plain way's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from idiolect.errors import IntegrityError, MismatchError
from idiolect.models import attention
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import find_packing_fault
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.linear import iter_linear_modules
from idiolect.models.logits import has_plain_head
from idiolect.models.proof.comparison import (
    WIDE_LIMITS,
    ErrorLimits,
    TensorError,
    What,
    compare_logits,
    measure_errors,
    measure_noise,
)
from idiolect.models.proof.fast_runs import (
    FastPass,
    Runner,
    run_batched,
    run_one_by_one,
    run_packed,
    run_tree,
    run_upper_layers,
    run_with_own_attention,
    run_with_prefix,
)
from idiolect.models.proof.first_layers import make_exact_base, make_short_base
from idiolect.models.proof.generation_runs import generate_rows
from idiolect.models.proof.plain_run import PlainRun, change_rounding, run_plainly
from idiolect.models.proof.probe_rows import SHORTEST, ProbeRows, make_probe_rows
from idiolect.models.structure import find_attention_span
from idiolect.models.ways import Ways

_NARROW_CAUSAL_LIMIT = 0.05
"""The largest difference between the logits of tokens with which two rows begin, relative to their
size, in a narrow precision: rounding differs with the length of a row."""


def prove_ways(base: Base) -> Ways:
    """Try every way of running a base on a small probe; the base must have its default attention.

    Raises MismatchError if the plain way itself does not run or is not causal, IntegrityError if it
    gives numbers that are not finite.
    """
    with torch.inference_mode(False), silence_transformers():
        return _Proof(base).find_ways()


T = TypeVar("T")


class _Stage:
    """A base in one precision with its plain run, to which each way is compared."""

    def __init__(self, base: Base, span: int | None, *, lenient: bool) -> None:
        self.base = replace(base, ways=Ways())
        self.modules = dict(iter_linear_modules(base.model))
        self.rows = make_probe_rows(base, span)
        self.plain = _run_plainly(self.base, self.rows, self.modules)
        _require_causal(base, self.plain, self.rows)
        self.limits = self._find_limits(lenient)
        self.flat_modules: frozenset[str] = frozenset()

    def _find_limits(self, lenient: bool) -> ErrorLimits:
        wide = WIDE_LIMITS.get(self.base.dtype)
        if wide is not None:
            return ErrorLimits(wide=wide)
        # How much does another rounding change? A fault must show beside that.
        with change_rounding(self.base, self.modules):
            rounded = run_plainly(self.base, self.rows, self.modules)
        return ErrorLimits(
            wide=0.0,
            noise=measure_noise(self.plain, rounded, self.rows),
            is_lenient=lenient,
            has_experts=any("expert" in path for path, _ in self.base.model.named_modules()),
        )

    def find_fault(self, runner: Runner, *, partial: bool = False) -> str | None:
        """Run a way; return what is wrong, in words, or None. ``partial``: it runs a part of the
        modules only."""

        def measure(passes: list[FastPass]) -> Mapping[What, TensorError]:
            if len(passes) == 1 and not partial:
                self._note_flat_modules(passes[0])
            return measure_errors(self.plain, self.rows, passes, partial=partial)

        return self._judge(lambda: runner(self.base, self.rows, self.modules), measure)

    def find_generation_fault(self, *, cached: bool, padded: bool) -> str | None:
        """Generate with a cache or not, and with padding on the left or not."""
        return self._judge(
            lambda: generate_rows(self.base, self.rows, cached=cached, padded=padded),
            lambda logits: compare_logits(logits, self.plain, self.rows),
        )

    def _judge(
        self, run: Callable[[], T], measure: Callable[[T], Mapping[What, TensorError]]
    ) -> str | None:
        try:
            results = run()
        except Exception as error:  # families fail in many ways; all mean that the way is no way
            return f"it fails ({_describe_error(error)})"
        excess = self.limits.find_excess(measure(results))
        return None if excess == 0 else f"its numbers differ by {excess:.2g} of their size"

    def _note_flat_modules(self, one: FastPass) -> None:
        """Note the modules whose input in a padded batch is not [rows, tokens, width]. Experts that
        no token of the probe reached are taken for such."""
        shape = (len(self.rows.rows), max(self.rows.lengths))
        if one.tokens != shape[0] * shape[1]:
            return
        seen = {path: given.shape[:-1] for (path, _), given in one.recording.inputs.items()}
        self.flat_modules = frozenset(
            path
            for path in self.modules
            if (path in seen and seen[path] != shape) or (path not in seen and "expert" in path)
        )


class _Proof:
    """Tries each way in every stage. A way that is wrong in one is off.

    The stages are the first layers in float32, and the base in the precision that runs. There, the
    padded batch and the attention run through all layers, other ways through the first ones.
    """

    def __init__(self, base: Base) -> None:
        self.base, self.span = base, find_attention_span(base.model)
        exact = make_exact_base(base)
        exact_stages = [] if exact is None else [_Stage(exact, self.span, lenient=False)]
        whole = _Stage(base, self.span, lenient=exact is not None)
        short = make_short_base(base)
        first = whole if short is None else _Stage(short, self.span, lenient=exact is not None)
        self.whole_stages, self.short_stages = [*exact_stages, whole], [*exact_stages, first]
        self.reasons: dict[str, str] = {}
        self.batch_fault: str | None = None

    def find_ways(self) -> Ways:
        """Return the verdict on each way."""
        attends = self._try_attention()
        batched = self._try_batched(attends)
        on_cpu = self.base.device.type == "cpu"
        modules = self.whole_stages[-1].modules.values()
        prepacked = not on_cpu or self._note("prepacked", find_packing_fault(modules))
        # All of these use this project's attention on rows that every layer sees whole.
        whole = {
            name: self._try_whole(name, runner, attends)
            for name, runner in (
                ("packed", run_packed),
                ("prefix", run_with_prefix),
                ("tree", run_tree),
                ("layers", run_upper_layers),
            )
        }
        cached, left_padded = self._try_generation()
        return Ways(
            attention=attends,
            batched=batched,
            prepacked=prepacked,
            cached=cached,
            left_padded=left_padded,
            head=has_plain_head(self.base.model),
            flat_modules=self.whole_stages[-1].flat_modules,
            reasons=self.reasons,
            **whole,
        )

    def _try_attention(self) -> bool:
        """Try this project's attention, with several rows in a batch; if that fails, with one."""
        self.batch_fault = self._find_fault(run_with_own_attention)
        if self.batch_fault is None:
            return True
        alone: Runner = partial(_run_in_attention, run_one_by_one)
        return self._note("attention", self._find_fault(alone))

    def _try_batched(self, attends: bool) -> bool:
        """Try padded batches with the attention that they will run with."""
        uses_own = attends and self.base.device.type == "cpu"
        fault = self.batch_fault if uses_own else self._find_fault(run_batched)
        if fault is not None:
            # The plain way must be right also in the form in which it runs here.
            alone = self._find_fault(run_one_by_one)
            if alone is not None:
                raise MismatchError(
                    f"{self.base.folder or self.base.name}: its decoder and output head do not "
                    f"give the model's own logits: {alone}; use another model"
                )
        return self._note("batched", fault)

    def _try_whole(self, name: str, runner: Runner, attends: bool) -> bool:
        if not attends:
            return self._note(name, "it needs attention that this base does not have")
        if self.span is not None and self.span < SHORTEST:
            return self._note(name, f"some layers attend to {self.span} tokens only")
        partial = name == "layers"
        faults = (stage.find_fault(runner, partial=partial) for stage in self.short_stages)
        return self._note(name, next(filter(None, faults), None))

    def _try_generation(self) -> tuple[bool, bool]:
        """Try the cache and left padding together; if that fails, each alone."""
        if self._find_generation_fault(cached=True, padded=True) is None:
            return True, True
        cached = self._find_generation_fault(cached=True, padded=False)
        padded = self._find_generation_fault(cached=cached is None, padded=True)
        return self._note("cached", cached), self._note("left_padded", padded)

    def _find_fault(self, runner: Runner) -> str | None:
        faults = (stage.find_fault(runner) for stage in self.whole_stages)
        return next(filter(None, faults), None)

    def _find_generation_fault(self, *, cached: bool, padded: bool) -> str | None:
        faults = (
            stage.find_generation_fault(cached=cached, padded=padded) for stage in self.short_stages
        )
        return next(filter(None, faults), None)

    def _note(self, way: str, fault: str | None) -> bool:
        """Return whether there is no fault; a fault is the reason for the verdict."""
        if fault is not None:
            self.reasons[way] = fault
        return fault is None


def _run_in_attention(
    runner: Runner, base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]
) -> list[FastPass]:
    with attention.use_attention(base.model):
        return runner(base, rows, modules)


def _run_plainly(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> PlainRun:
    """Run the plain way; raises the errors of ``prove_ways``."""
    where = base.folder or base.name
    try:
        plain = run_plainly(base, rows, modules)
    except Exception as error:
        reason, kind = _describe_error(error), str(base.dtype).removeprefix("torch.")
        if base.dtype in (torch.float32, torch.float64) or not _runs_in_float32(
            base, rows, modules
        ):
            raise MismatchError(
                f"{where}: does not run as a causal language model: {reason}; use another model"
            ) from error
        raise MismatchError(
            f"{where}: models of this family do not run in {kind} ({reason}), but they do in "
            "float32; choose that (--dtype float32)"
        ) from error
    if not all(torch.isfinite(one).all() for one in (plain.logits, *plain.gradients.values())):
        finite = all(bool(torch.isfinite(one).all()) for one in base.model.parameters())
        raise IntegrityError(
            f"{where}: gives numbers that are not finite in {base.dtype}; use float32"
            if finite
            else f"{where}: its weights contain a number that is not finite"
        )
    return plain


def _runs_in_float32(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the plain way runs after the weights became float32; the base is refused anyway."""
    try:
        model: Any = base.model.float()
        run_plainly(replace(base, model=model), rows, modules)
    except Exception:
        return False
    return True


def _require_causal(base: Base, plain: PlainRun, rows: ProbeRows) -> None:
    """Raise MismatchError if later tokens change the logits of the tokens that two rows share."""
    one, two = (plain.logits[start : start + rows.shared].float() for start in rows.offsets[:2])
    error_P = torch.linalg.vector_norm(one - two, dim=1) / torch.linalg.vector_norm(one, dim=1)
    if not float(error_P.median()) <= WIDE_LIMITS.get(base.dtype, _NARROW_CAUSAL_LIMIT):
        raise MismatchError(
            f"{base.folder or base.name}: attends to later tokens, so it is not a causal language "
            "model; use another model"
        )


def _describe_error(error: Exception) -> str:
    """Return the first line of an error, in at most 120 characters."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:120]
