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
from idiolect.storage.holders import Effect, Holder, Leaving, Outcome, delete_files, folders_below
from idiolect.storage.ledger import Entry, Ledger
from idiolect.storage.manifest import Manifest
from idiolect.storage.needles import Needles, pieces_of
from idiolect.storage.scan import Hit, Words, scan_tree

__all__ = [
    "SCOPES",
    "Consent",
    "Effect",
    "Entry",
    "Hit",
    "Holder",
    "Leaving",
    "Ledger",
    "Manifest",
    "Needles",
    "Outcome",
    "Scope",
    "Words",
    "clean_partials",
    "consents",
    "delete_files",
    "explain_os_errors",
    "folders_below",
    "grant",
    "is_working_file",
    "lock",
    "pieces_of",
    "read_json",
    "require_consent",
    "require_space",
    "revoke",
    "scan_tree",
    "sha256_file",
    "staged_folder",
    "valid_for",
    "write_atomic",
    "write_json",
]
