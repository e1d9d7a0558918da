"""Makes the profiles of many people, and makes none twice; knows no model but a ``Writer``."""

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
    """A profile still without its text, and what it is to be made from."""

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
    """Profiles of everyone in ``histories``, by person, in the order of their cuts.

    ``writer`` answers prompts and is called once for ``batch`` people; ``name`` is what it is known
    by and should change whenever its answers may (name the model and its weights' hash). Without
    a writer, plain facts are written. ``cuts`` maps the number of items to the cuts.

    With a ``folder``, what it holds is kept, what is unchanged in it (items, question and writer)
    is not written again, and it is saved after each batch, so that a killed run loses one batch.
    Raises MismatchError where it is for another task, IntegrityError where it was tampered with.
    """
    assert (writer is None) == (name == FACTS_WRITER), "a writer has a name of its own"
    holding = nullcontext() if folder is None else hold_lock(folder, wait=True, what="the profiles")
    with holding:
        stored = load_profiles(folder, task=task.name) if folder and is_nonempty(folder) else {}
        made: dict[str, tuple[Profile, ...]] = {}
        listener(Progress(stage="profiles", done=0, total=len(histories), unit="people"))
        for group in _iter_batches(histories, batch):
            jobs = [job for history in group for job in _iter_jobs(history, task, name, cuts)]
            kept = _find_unchanged(jobs, stored) if writer else {}
            written = _write_texts([job for job in jobs if job.blank not in kept], task, writer)
            done = kept | written
            for history in group:
                made[history.person] = tuple(
                    done[job.blank] for job in jobs if job.blank.person == history.person
                )
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
    rest = iter(histories)
    while group := list(islice(rest, size)):
        yield group


def _iter_jobs(
    history: History, task: Task, writer: str, cuts: Callable[[int], Sequence[int]]
) -> Iterator[_ProfileJob]:
    for cut in sorted({cut for cut in cuts(len(history.items)) if cut > 0}):
        assert cut <= len(history.items), (cut, len(history.items))
        items = history.items[:cut]
        prompt = build_question(items, task)
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
    """Stored profiles by their blanks, where all but the text is what a job asks for."""
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
    if writer is None:
        texts: Sequence[str] = [build_fact_profile(job.items, task) for job in jobs]
    else:
        texts = writer([job.prompt for job in jobs]) if jobs else []
    assert len(texts) == len(jobs), f"the writer gave {len(texts)} texts for {len(jobs)} prompts"
    return {
        job.blank: replace(job.blank, text=" ".join(text.split()))
        for job, text in zip(jobs, texts, strict=True)
    }
