"""Atomic writes of files and folders, checksums, and locks between processes.

A file or folder is either complete or absent. Unfinished data has a name
``.NAME.PID-RANDOM.partial`` next to its destination until it is complete and synced to disk. Only
the owner can read it (``storage.permissions``). This module handles paths and bytes, whatever the
files mean.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import filelock

from idiolect.errors import BusyError, IdiolectError, IntegrityError, MissingError
from idiolect.storage.permissions import (
    create_empty_file,
    make_folder,
    open_new_file,
    pick_file_mode,
    restrict_tree,
    set_mode,
)
from idiolect.storage.tree import require_no_outside_links

MAX_JSON_BYTES = 256_000_000
"""Largest JSON file that is read; the records of a million people are smaller."""
_SECONDS_PER_DAY = 86_400
_HOST_HASH = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_PARTIAL_NAME = re.compile(
    r"\.(?P<name>.+)\.(?P<pid>\d+)-(?P<host>[0-9a-f]{6})[0-9a-f]{8}\.(partial|old)"
)
_LOCK_NAMES = re.compile(r"\..+\.(lock|held)")
_OWN_PARTIALS: set[str] = set()
"""Names of the partial files that this process is writing."""
_CLEANED_FOLDERS: set[Path] = set()
"""Folders from which this process removed what killed processes had left."""


@contextlib.contextmanager
def explain_os_errors(doing: str, path: Path) -> Generator[None]:
    """Turn an OSError inside the block into an IdiolectError.

    The message reads "cannot ``doing`` ``path``" and says what to do. A missing file raises
    MissingError.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise MissingError(f"cannot {doing} {path}: no such file or folder") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "the disk is full or over its quota; free some space and run again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "not permitted; check who owns it, or choose another folder"
        else:
            hint = error.strerror or str(error)
        raise IdiolectError(f"cannot {doing} {path}: {hint}") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes (64 hex digits)."""
    with explain_os_errors("read", path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a complete file, or leave the old one unchanged. Text is encoded as UTF-8.

    Creates missing parent folders. Raises IdiolectError naming the path.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    with stage_file(path) as partial, partial.open("wb") as stream:
        stream.write(raw)


@contextlib.contextmanager
def stage_file(path: Path) -> Generator[Path]:
    """Yield an empty file to fill; it becomes ``path`` only if the block ends without an exception.

    Creates missing parent folders. The first time that a process writes a file in a folder, it
    removes what killed processes left there. Raises IdiolectError naming the path.
    """
    with explain_os_errors("write", path), _reserve_partial(path) as partial:
        # Once, because a folder of a large pool holds many files.
        if path.parent not in _CLEANED_FOLDERS:
            _CLEANED_FOLDERS.add(path.parent)
            clean_partials(path.parent)
        os.close(open_new_file(partial))
        yield partial
        # The data must be on disk before the rename, and the rename before this function returns.
        with partial.open("rb") as stream:
            set_mode(partial, pick_file_mode(path, replaced=path))
            os.fsync(stream.fileno())
        partial.replace(path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def stage_folder(final: Path, *, replace: bool = False) -> Generator[Path]:
    """Yield a new folder to fill; it becomes ``final`` only if the block ends without an exception.

    If ``final`` already exists because another process was faster, the new folder is deleted and
    the older one stays. With ``replace``, the new one takes its place in one step. If ``final`` is
    a link, the folder that it leads to is replaced. Raises IdiolectError naming the path.
    """
    final = Path(os.path.realpath(final)) if final.is_symlink() else final
    with _reserve_partial(final) as partial:
        with explain_os_errors("make", partial):
            partial.mkdir(mode=0o700)
            clean_partials(final.parent)
        try:
            yield partial
        except OSError as error:
            # Explain only errors about the folder that is being filled. The block may read other
            # files, and their errors must keep their own paths.
            if error.filename is None or str(error.filename).startswith(str(partial)):
                with explain_os_errors("write", final):
                    raise
            raise
        with explain_os_errors("write", final):
            restrict_tree(partial, replaced=final)
            # Sync the content first: after the rename, the folder must survive a power failure.
            _sync_tree(partial)
            if replace:
                _replace_folder(partial, final)
            else:
                _rename_if_free(partial, final)
            _sync_folder(final.parent)


def _rename_if_free(partial: Path, final: Path) -> bool:
    """Rename unless a folder with that name exists; return True if the new folder took the name."""
    try:
        if final.exists() and not final.is_dir():
            raise FileExistsError(errno.EEXIST, "a file with that name already exists", str(final))
        partial.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and final.is_dir():
            return False
        raise
    return True


def _replace_folder(partial: Path, final: Path) -> None:
    """Put the new folder in the old one's place; the old one ends up under a partial's name."""
    if _rename_if_free(partial, final) or _exchange_names(partial, final):
        return
    # Without an atomic swap there is a short time in which neither folder has the name.
    old = _make_partial_path(final, "old")
    with contextlib.suppress(FileNotFoundError):
        final.rename(old)  # clean_partials restores it after a kill
    _rename_if_free(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def _exchange_names(one: Path, other: Path) -> bool:
    """Swap two names in one system call; return False if the platform does not support it."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        at_cwd, exchange = -100, 2
        # AT_FDCWD: both paths are relative to the working directory.
        return libc.renameat2(at_cwd, a, at_cwd, b, exchange) == 0
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        swap = 2
        return libc.renamex_np(a, b, swap) == 0
    return False


def _make_partial_path(final: Path, ending: str) -> Path:
    """Return a hidden name next to ``final`` that encodes process, host and a random part."""
    mark = f"{os.getpid()}-{_HOST_HASH}{secrets.token_hex(4)}"
    return final.with_name(f".{final.name}.{mark}.{ending}")


@contextlib.contextmanager
def _reserve_partial(final: Path) -> Generator[Path]:
    """Yield an unused name next to ``final``; remove whatever has that name when the block ends."""
    with explain_os_errors("write", final):
        make_folder(final.parent)
    partial = _make_partial_path(final, "partial")
    _OWN_PARTIALS.add(partial.name)
    try:
        yield partial
    finally:
        _remove_path(partial)
        _OWN_PARTIALS.discard(partial.name)


def clean_partials(folder: Path) -> list[str]:
    """Remove what killed processes left in ``folder``, and return the removed names.

    Leftovers of another machine (on a shared disk) are removed when they are a day old. A folder
    that a killed process had moved aside during a replacement is moved back.
    """
    removed: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _PARTIAL_NAME.fullmatch(path.name)
        if match is None or not _is_leftover(path, int(match["pid"]), match["host"]):
            continue
        # An ".old" folder without a successor is the only copy: restore it.
        home = path.with_name(match["name"])
        if path.name.endswith(".old") and not home.exists():
            with contextlib.suppress(OSError):
                path.rename(home)
            continue
        _remove_path(path)
        removed.append(path.name)
    return removed


def is_working_file(name: str) -> bool:
    """Return whether a name belongs to this module: a partial, a lock, or a lock's note."""
    return any(pattern.fullmatch(name) for pattern in (_PARTIAL_NAME, _LOCK_NAMES))


def _is_leftover(path: Path, pid: int, host: str) -> bool:
    """Return whether a partial belongs to a process that no longer writes it."""
    if host != _HOST_HASH:
        with contextlib.suppress(OSError):
            # A process on another host cannot be checked, so use the age.
            return path.stat().st_mtime < time.time() - _SECONDS_PER_DAY
        return False
    if pid == os.getpid():  # process ids are reused, especially in containers
        return path.name not in _OWN_PARTIALS
    try:
        # Signal 0 only checks whether the process exists.
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _remove_path(path: Path) -> None:
    """Remove a file, link or folder if it exists; ignores errors."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, so that a rename in it survives a power failure."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    """Sync every file and folder below ``folder`` to disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            with Path(place, name).open("rb") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(place))


def _render_envelope(content: Any) -> bytes:
    """Return the bytes of a JSON file that contains ``content`` and its SHA-256."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    envelope = {"content": content, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}
    return (json.dumps(envelope, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def write_json(path: Path, content: Any) -> None:
    """Write plain data atomically with a checksum. Equal content gives equal bytes."""
    write_atomic(path, _render_envelope(json.loads(json.dumps(content, allow_nan=False))))


def read_json(path: Path) -> Any:
    """Read a file written by ``write_json``; raises IntegrityError if any byte was changed."""
    with explain_os_errors("read", path):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise IntegrityError(
                f"{path}: has more than {MAX_JSON_BYTES:,} bytes: too many to read"
            )
        raw = path.read_bytes()
    try:
        # Rendering the content again compares every byte, spacing and key order included.
        envelope = json.loads(raw)
        if _render_envelope(envelope["content"]) == raw:
            return envelope["content"]
        what = "was changed after it was written"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"is not a checksummed JSON file ({error})"
    raise IntegrityError(f"{path}: {what}; restore it from a copy or create it again")


@contextlib.contextmanager
def hold_lock(path: Path, *, wait: bool | float, what: str) -> Generator[None]:
    """Hold a lock on ``path`` (a file or folder, which need not exist) against all other processes.

    The lock is a hidden file next to ``path`` and is released when the process ends. ``wait``:
    False does not wait, True waits without limit, a number waits that many seconds. Raises
    BusyError naming the holder of ``what``, and IntegrityError if a link below ``path`` leads out
    of it: a writer could change what is there. The lock is not reentrant.
    """
    # All links to a folder share one lock.
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    timeout = (-1.0 if wait else 0.0) if isinstance(wait, bool) else float(wait)
    with explain_os_errors("lock", path):
        make_folder(path.parent)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), mode=pick_file_mode(path))
        # The note tells a waiting process who holds the lock. It is only informative.
        note = path.with_name(f".{path.name}.held")
        try:
            lock.acquire(timeout=timeout, poll_interval=0.02)
        except filelock.Timeout:
            raise BusyError(
                f"{what} ({path}) is in use by {_read_lock_holder(note)}; wait for it "
                "to end, or end it, and run again"
            ) from None
    try:
        require_no_outside_links(path)
        with contextlib.suppress(OSError):
            # Without the note, the lock still works. A new file is never written through a link.
            note.unlink(missing_ok=True)
            create_empty_file(note)
            note.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _read_lock_holder(note: Path) -> str:
    """Return the holder named in the lock's note, for an error message."""
    try:
        return note.read_text(encoding="utf-8") or "another process"
    except (OSError, ValueError):
        return "another process"
