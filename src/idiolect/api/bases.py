"""API functions about base models: check one before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idiolect.api.requests import BaseCheckRequest

if TYPE_CHECKING:
    from idiolect.training.base_report.base_report import BaseReport


def check_base(request: BaseCheckRequest) -> BaseReport:
    """Load a base model, check what training relies on, and report what it needs and supports.

    Nothing is written besides the cache. A base whose weights do not fit into the free memory is
    not loaded: the report then says what can be computed from its config.

    Args:
        request: The base model, and the data type and device to run it on.

    Returns:
        The family and the number of parameters, the memory to train and to serve (computed), the
        modules that get adapters, which fast ways of running it are right, and whether other tools
        can use its adapters.

    Raises:
        MissingError: If the base does not exist.
        IntegrityError: If its weights are incomplete, damaged, or not safetensors.
        MismatchError: If it is not a causal language model, or its tokenizer does not fit it.
        UsageError: If the data type or the device cannot be used.

    Example:
        >>> check_base(BaseCheckRequest(base="models/mine"))
    """
    from idiolect.training.base_report.base_report import check_base as report_on

    return report_on(request.base, dtype=request.dtype, device=request.device)
