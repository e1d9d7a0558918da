"""The errors that Idiolect raises for users, as one class tree.

    IdiolectError                what failed, where, which value, what to do
    +-- UsageError               the call is wrong: arguments, options, configuration (exit code 2)
    |   +-- ConsentError         a person must agree first, and nothing shows that they did
    +-- DataError                an external file or record is broken (names file and line)
    +-- MissingError             a named model, dataset or person does not exist
    +-- ArtifactError            one of Idiolect's own artifacts cannot be used
    |   +-- IntegrityError       tampered, truncated, not finite, or contains a foreign file
    |   |   +-- NotFiniteError   some people's rows of a batch; the others' results are in it
    |   +-- MismatchError        made for another base model, tokenizer, task or configuration
    +-- BusyError                another process holds the artifact, or another thread the model
    +-- TrainingError            training cannot continue: a loss or a weight is not finite

Programming mistakes are plain ``assert`` statements. These classes report problems that come from
input, files and the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class IdiolectError(Exception):
    """Base class of all errors. The message says what failed, where, the value, and what to do."""

    exit_code = 1


class UsageError(IdiolectError):
    """The call is wrong: arguments, options or configuration."""

    exit_code = 2


class ConsentError(UsageError):
    """A person must agree first, and nothing shows that they did."""


class DataError(IdiolectError):
    """An external file or record is broken; the message names file and line."""

    def __init__(
        self, what: str, *, file: object = None, line: int | None = None, hint: str = ""
    ) -> None:
        where = "" if file is None else f"{file}" + (f":{line}" if line is not None else "") + ": "
        super().__init__(f"{where}{what}" + (f" ({hint})" if hint else ""))
        self.file = file
        self.line = line


class MissingError(IdiolectError):
    """A named model, dataset, file or person does not exist."""


class ArtifactError(IdiolectError):
    """One of Idiolect's own artifacts cannot be used."""


class IntegrityError(ArtifactError):
    """An artifact was tampered with, is truncated or not finite, or contains a foreign file."""


class NotFiniteError(IntegrityError):
    """Rows of some people in a batch are not finite; all other rows have results."""

    def __init__(self, reasons: Mapping[str, str], results: Sequence[object]) -> None:
        super().__init__("; ".join(f"{person!r}: {why}" for person, why in reasons.items()))
        self.reasons = dict(reasons)
        """What is wrong and what to do, by person."""
        self.results: list[Any] = list(results)
        """The results of all requests, in order; None for the rows of these people."""


class MismatchError(ArtifactError):
    """An artifact was made for another base model, tokenizer, task or configuration."""


class BusyError(IdiolectError):
    """Another process holds the artifact, or another thread uses the base model."""


class TrainingError(IdiolectError):
    """Training cannot continue: a loss or a weight is not finite."""
