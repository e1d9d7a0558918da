"""Several people are forgotten in one call, which a kill does not leave half done."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.events import Event, Message
from idiolect.history.dataset import read_dataset
from support.erasure_world import (
    ANN,
    BART,
    CRESS,
    DORA,
    ErasureWorld,
    build_trained_world,
    copy_world,
)
from support.random_kills import find_damage
from support.tiny_people import to_tensor_bytes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ErasureWorld:
    return build_trained_world(tmp_path_factory.mktemp("trained") / "world")


def make_requests(place: ErasureWorld, people: Sequence[str]) -> list[api.ForgetRequest]:
    return [api.ForgetRequest(data=place.data, adapters=place.store, person=p) for p in people]


def kill_during(place: ErasureWorld, people: Sequence[str], event_number: int) -> bool:
    """Forget people in a forked process that is killed at an event; returns whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count_events(_event: Event) -> None:
            nonlocal seen
            seen += 1
            if seen == event_number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            api.forget_people(make_requests(place, people), listener=count_events)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.finding("repeated-person")
def test_forget_people_killed_between_and_within_people_finishes(
    template: ErasureWorld, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    calm = copy_world(template, tmp_path / "calm")
    # Bartholomew's adapter is trained again without her words, then Dorothea's without Cressida's.
    people, events = (ANN, CRESS), list[Event]()
    api.forget_people(make_requests(calm, people), listener=events.append)
    place = copy_world(template, tmp_path / "place")
    starts = [
        number
        for number, event in enumerate(events, start=1)
        if isinstance(event, Message) and event.text.startswith("adapters to train again")
    ]
    assert len(starts) == len(people)
    # Killed while the first is forgotten, and in the next run while the second is.
    for number in (starts[0] + 1, starts[1]):
        assert kill_during(place, people, number)
        assert find_damage(place.folder) == []
    assert read_dataset(place.data).people == (BART, CRESS, DORA)
    api.forget_people(make_requests(place, people))
    assert read_dataset(place.data).people == (BART, DORA)
    assert {h.person: h for h in read_dataset(place.data)} == {
        h.person: h for h in read_dataset(calm.data)
    }
    for person in (BART, DORA):
        adapters = [AdapterStore.open(p.store).get_adapter(person) for p in (place, calm)]
        assert to_tensor_bytes(adapters[0]) == to_tensor_bytes(adapters[1])
    left = [name for name, content in place.read_files().items() if ANN.encode() in content]
    assert left == []


def test_forget_people_again_passes_over_those_who_are_gone(
    template: ErasureWorld, tmp_path: Path
) -> None:
    place = copy_world(template, tmp_path / "place")
    place.forget(ANN)
    done = api.forget_people(make_requests(place, (ANN, DORA)))
    assert [receipt.person for receipt in done] == [DORA]
