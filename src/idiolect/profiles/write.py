"""Makes the profiles of many people, and makes none twice; knows no model but a ``Writer``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from idiolect.events import Listener, Progress, silent
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.profiles.facts import facts
from idiolect.profiles.profile import Profile, halves
from idiolect.profiles.protocol import Writer, question
from idiolect.profiles.store import holds_anything, load, save
from idiolect.storage.files import lock
from idiolect.tasks.task import Task

FACTS = "facts"
"""The name of the writer that needs no model."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A profile still without its text, and what it is to be made from."""

    blank: Profile
    items: tuple[Interaction, ...]
    prompt: str


def write_profiles(
    histories: Collection[History],
    task: Task,
    writer: Writer | None = None,
    *,
    name: str = FACTS,
    folder: Path | None = None,
    cuts: Callable[[int], Sequence[int]] = halves,
    batch: int = 16,
    listener: Listener = silent,
) -> dict[str, tuple[Profile, ...]]:
    """Profiles of everyone in ``histories``, by person, in the order of their cuts.

    ``writer`` answers prompts and is called once for ``batch`` people; ``name`` is what it is known
    by and should change whenever its answers may (name the model and its weights' hash). Without
    a writer, plain facts are written. ``cuts`` maps the number of items to the cuts.

    With a ``folder``, what it holds is kept, what is unchanged in it (items, question and writer)
    is not written again, and it is saved after each batch, so that a killed run loses one batch.
    Raises MismatchError where it is for another task, IntegrityError where it was tampered with.
    """
    assert (writer is None) == (name == FACTS), "a writer has a name of its own"
    holding = nullcontext() if folder is None else lock(folder, wait=True, what="the profiles")
    with holding:
        stored = load(folder, task=task.name) if folder and holds_anything(folder) else {}
        made: dict[str, tuple[Profile, ...]] = {}
        listener(Progress(stage="profiles", done=0, total=len(histories), unit="people"))
        for group in _groups(histories, batch):
            jobs = [job for history in group for job in _jobs(history, task, name, cuts)]
            kept = _unchanged(jobs, stored) if writer else {}
            written = _write([job for job in jobs if job.blank not in kept], task, writer)
            done = kept | written
            for history in group:
                made[history.person] = tuple(
                    done[job.blank] for job in jobs if job.blank.person == history.person
                )
            now = stored | {history.person: made[history.person] for history in group}
            now = {person: profiles for person, profiles in now.items() if profiles}
            if folder is not None and (now != stored or not holds_anything(folder)):
                save(folder, (p for profiles in now.values() for p in profiles), task=task.name)
            stored = now
            listener(
                Progress(stage="profiles", done=len(made), total=len(histories), unit="people")
            )
    return made


def _groups(histories: Collection[History], size: int) -> Iterator[list[History]]:
    rest = iter(histories)
    while group := list(islice(rest, size)):
        yield group


def _jobs(
    history: History, task: Task, writer: str, cuts: Callable[[int], Sequence[int]]
) -> Iterator[_Job]:
    for cut in sorted({cut for cut in cuts(len(history.items)) if cut > 0}):
        assert cut <= len(history.items), (cut, len(history.items))
        items = history.items[:cut]
        prompt = question(items, task)
        blank = Profile(
            person=history.person,
            cut=cut,
            text="",
            writer=writer,
            fingerprint=History(history.person, items).fingerprint(),
            question=hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        )
        yield _Job(blank, items, prompt)


def _unchanged(
    jobs: Sequence[_Job], stored: dict[str, tuple[Profile, ...]]
) -> dict[Profile, Profile]:
    """Stored profiles by their blanks, where all but the text is what a job asks for."""
    asked = {job.blank for job in jobs}
    found = {
        replace(profile, text=""): profile
        for person in {blank.person for blank in asked}
        for profile in stored.get(person, ())
    }
    return {blank: profile for blank, profile in found.items() if blank in asked}


def _write(jobs: Sequence[_Job], task: Task, writer: Writer | None) -> dict[Profile, Profile]:
    if writer is None:
        texts: Sequence[str] = [facts(job.items, task) for job in jobs]
    else:
        texts = writer([job.prompt for job in jobs]) if jobs else []
    assert len(texts) == len(jobs), f"the writer gave {len(texts)} texts for {len(jobs)} prompts"
    return {
        job.blank: replace(job.blank, text=" ".join(text.split()))
        for job, text in zip(jobs, texts, strict=True)
    }
