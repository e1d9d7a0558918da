"""What lies on disk: whole files, what they were made of, and who did what."""

from idiolect.storage.blobs import (
    clean_partials,
    explain_os_errors,
    is_working_file,
    lock,
    read_json,
    require_space,
    sha256_file,
    staged_folder,
    write_atomic,
    write_json,
)
from idiolect.storage.consent import (
    SCOPES,
    Consent,
    Scope,
    consents,
    grant,
    require_consent,
    revoke,
    valid_for,
)
from idiolect.storage.ledger import Entry, Ledger
from idiolect.storage.manifest import Manifest

__all__ = [
    "SCOPES",
    "Consent",
    "Entry",
    "Ledger",
    "Manifest",
    "Scope",
    "clean_partials",
    "consents",
    "explain_os_errors",
    "grant",
    "is_working_file",
    "lock",
    "read_json",
    "require_consent",
    "require_space",
    "revoke",
    "sha256_file",
    "staged_folder",
    "valid_for",
    "write_atomic",
    "write_json",
]
