"""Writing of profiles for many people, without writing an unchanged profile twice.

The only model here is the ``ProfileWriter`` that is passed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from idiolect.events import Listener, Progress, null_listener
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.profiles.facts import build_fact_profile
from idiolect.profiles.profile import Profile, split_at_half
from idiolect.profiles.protocol import ProfileWriter, build_question
from idiolect.profiles.store import is_nonempty, load_profiles, save_profiles
from idiolect.storage.files import hold_lock
from idiolect.tasks.task import Task

FACTS_WRITER = "facts"
"""The name of the writer that needs no model."""


@dataclass(frozen=True, slots=True)
class _ProfileJob:
    """A profile without its text, and what the text is to be made from."""

    blank: Profile
    items: tuple[Interaction, ...]
    prompt: str


def write_profiles(
    histories: Collection[History],
    task: Task,
    writer: ProfileWriter | None = None,
    *,
    name: str = FACTS_WRITER,
    folder: Path | None = None,
    cuts: Callable[[int], Sequence[int]] = split_at_half,
    batch: int = 16,
    listener: Listener = null_listener,
) -> dict[str, tuple[Profile, ...]]:
    """Write profiles of all people in ``histories``; returns them by person, ordered by cut.

    ``writer`` answers prompts; it is called once per ``batch`` people. ``name`` identifies it and
    should change if its answers may change (name the model and the hash of its weights). Without a
    writer, plain facts are written. ``cuts`` maps the number of items to the cuts.

    With a ``folder``, existing profiles are kept, and unchanged ones (same items, question and
    writer) are not written again. The folder is saved after each batch, so a killed run loses one
    batch. Raises MismatchError if the folder is for another task, IntegrityError if its files were
    changed.
    """
    assert (writer is None) == (name == FACTS_WRITER), "a writer needs its own name"
    holding = nullcontext() if folder is None else hold_lock(folder, wait=True, what="the profiles")
    # The lock keeps a second process from replacing the folder meanwhile.
    with holding:
        stored = load_profiles(folder, task=task.name) if folder and is_nonempty(folder) else {}
        made: dict[str, tuple[Profile, ...]] = {}
        listener(Progress(stage="profiles", done=0, total=len(histories), unit="people"))
        for group in _iter_batches(histories, batch):
            # One batch of people: find which texts are unchanged, and write the others in one call.
            # Facts are cheap, so they are always written.
            jobs = [job for history in group for job in _iter_jobs(history, task, name, cuts)]
            unchanged = _find_unchanged(jobs, stored) if writer else {}
            written = _write_texts(
                [job for job in jobs if job.blank not in unchanged], task, writer
            )
            done = unchanged | written
            for history in group:
                made[history.person] = tuple(
                    done[job.blank] for job in jobs if job.blank.person == history.person
                )
            # Save after each batch, but only if something changed.
            now = stored | {history.person: made[history.person] for history in group}
            now = {person: profiles for person, profiles in now.items() if profiles}
            if folder is not None and (now != stored or not is_nonempty(folder)):
                save_profiles(
                    folder, (p for profiles in now.values() for p in profiles), task=task.name
                )
            stored = now
            listener(
                Progress(stage="profiles", done=len(made), total=len(histories), unit="people")
            )
    return made


def _iter_batches(histories: Collection[History], size: int) -> Iterator[list[History]]:
    """Yield the histories in lists of at most ``size``."""
    rest = iter(histories)
    while group := list(islice(rest, size)):
        yield group


def _iter_jobs(
    history: History, task: Task, writer: str, cuts: Callable[[int], Sequence[int]]
) -> Iterator[_ProfileJob]:
    """Yield a job for each cut of a history; cuts at 0 are skipped."""
    for cut in sorted({cut for cut in cuts(len(history.items)) if cut > 0}):
        assert cut <= len(history.items), (cut, len(history.items))
        items = history.items[:cut]
        prompt = build_question(items, task)
        # A stored profile that equals this one except for its text is unchanged.
        blank = Profile(
            person=history.person,
            cut=cut,
            text="",
            writer=writer,
            fingerprint=History(history.person, items).compute_fingerprint(),
            question=hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        )
        yield _ProfileJob(blank, items, prompt)


def _find_unchanged(
    jobs: Sequence[_ProfileJob], stored: dict[str, tuple[Profile, ...]]
) -> dict[Profile, Profile]:
    """Return stored profiles that equal a job except for the text, by the job's blank profile."""
    asked = {job.blank for job in jobs}
    found = {
        replace(profile, text=""): profile
        for person in {blank.person for blank in asked}
        for profile in stored.get(person, ())
    }
    return {blank: profile for blank, profile in found.items() if blank in asked}


def _write_texts(
    jobs: Sequence[_ProfileJob], task: Task, writer: ProfileWriter | None
) -> dict[Profile, Profile]:
    """Write the texts of jobs; returns the finished profiles by their blanks."""
    if writer is None:
        texts: Sequence[str] = [build_fact_profile(job.items, task) for job in jobs]
    else:
        texts = writer([job.prompt for job in jobs]) if jobs else []
    assert len(texts) == len(jobs), (
        f"the writer returned {len(texts)} texts for {len(jobs)} prompts"
    )
    return {
        job.blank: replace(job.blank, text=" ".join(text.split()))
        for job, text in zip(jobs, texts, strict=True)
    }
