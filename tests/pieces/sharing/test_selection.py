"""Who is chosen: one of each group of like people, the most active one, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from idiolect.errors import IntegrityError, UsageError
from idiolect.events import Event, Message
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.pieces.sharing.selection import Sharer, SharersConfig, Strategy, select_sharers
from idiolect.tasks.registry import get_task

RATING = get_task("rating")
KINDS = {"war": (1.0, 0.0, 0.0), "love": (0.0, 1.0, 0.0), "space": (0.0, 0.0, 1.0)}


class Kinds:
    """Knows three kinds of films; a number in a title moves its vector a little."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls.append(len(texts))
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    @staticmethod
    def _vector(text: str) -> npt.NDArray[np.float64]:
        kind, number, *_ = text.split()
        return np.array(KINDS[kind]) + 0.01 * np.array([0.0, 1.0, -1.0]) * int(number)


def fan(person: str, kind: str, count: int, number: int | None = None) -> History:
    draw = random.Random(person)
    items = [
        Interaction(
            id=f"{person}{n}",
            position=n,
            fields={"title": f"{kind} {number or draw.randint(1, 9)}", "rating": "3"},
        )
        for n in range(count)
    ]
    return History.from_interactions(person, items)


def people() -> list[History]:
    """Three groups of like people of different sizes; the most active are a1, b2 and c3."""
    sizes = {"a": (30, 12, 29, 11), "b": (14, 40, 13), "c": (10, 20, 21)}
    return [
        fan(f"{letter}{n}", kind, count)
        for letter, kind in zip("abc", KINDS, strict=True)
        for n, count in enumerate(sizes[letter], 1)
    ]


def names(
    candidates: Sequence[History], strategy: Strategy = "cluster", sharers: int = 3, **more: int
) -> list[str]:
    config = SharersConfig(strategy=strategy, sharers=sharers, **more)
    found = select_sharers(candidates, RATING, config, encoder=Kinds())
    return [sharer.person for sharer in found]


def test_the_most_active_of_each_cluster() -> None:
    for seed in range(4):
        found = select_sharers(
            people(), RATING, SharersConfig(sharers=3, seed=seed), encoder=Kinds()
        )
        assert [(s.person, s.items) for s in found] == [("a1", 30), ("b2", 40), ("c3", 21)]
        assert sorted(s.cluster for s in found if s.cluster is not None) == [0, 1, 2]
    assert len(set(names(people(), sharers=10))) == 10


@pytest.mark.parametrize("strategy", ["cluster", "most-active", "random"])
@pytest.mark.parametrize("sharers", [2, 5])
def test_neither_order_nor_repetition_changes_anything(strategy: Strategy, sharers: int) -> None:
    expected = names(people(), strategy, sharers)
    assert len(expected) == sharers and expected == sorted(expected)
    for seed in range(3):
        mixed = people()
        random.Random(seed).shuffle(mixed)
        assert names(mixed, strategy, sharers) == expected


def test_the_most_active_with_ties_by_name() -> None:
    tied = [fan(name, "war", count) for name, count in zip("dcba", (15, 15, 15, 20), strict=True)]
    assert names(tied, "most-active", 2) == ["a", "b"]
    assert names(tied, "most-active", 3) == ["a", "b", "c"]
    assert names([fan(name, "war", 15) for name in "dcb"], "cluster", 1) == ["b"]


def test_a_draw_depends_on_the_seed_and_only_grows() -> None:
    draws = {tuple(names(people(), "random", 4, seed=seed)) for seed in range(12)}
    assert len(draws) > 3
    for fewer in range(1, 10):
        few, more = (set(names(people(), "random", n)) for n in (fewer, fewer + 1))
        assert few < more
    everybody = {name for draw in draws for name in draw}
    assert everybody == {history.person for history in people()}


@pytest.mark.parametrize("strategy", ["cluster", "most-active", "random"])
def test_nobody_with_too_few_items(strategy: Strategy) -> None:
    candidates = [fan("few", "war", 9), fan("enough", "war", 10), fan("more", "love", 11)]
    assert names(candidates, strategy, 3) == ["enough", "more"]
    assert names(candidates, strategy, 3, least_items=9) == ["enough", "few", "more"]
    with pytest.raises(UsageError, match="of 3 candidates none has 50 items"):
        names(candidates, strategy, 3, least_items=50)
    with pytest.raises(UsageError, match="of 0 candidates"):
        names([], strategy)


def test_fewer_than_asked_for_are_all_taken_and_said() -> None:
    heard: list[Event] = []
    candidates = [*people(), fan("few", "war", 3)]
    for strategy in ("cluster", "most-active", "random"):
        config = SharersConfig(strategy=strategy, sharers=50)
        found = select_sharers(candidates, RATING, config, encoder=Kinds(), listener=heard.append)
        assert [s.person for s in found] == [h.person for h in people()]
    assert (
        heard
        == [Message(text="10 sharers instead of 50: 1 more candidates have fewer than 10 items")]
        * 3
    )
    heard.clear()
    config = SharersConfig(strategy="most-active", sharers=10)
    select_sharers(candidates, RATING, config, listener=heard.append)
    assert heard == []


def test_people_too_alike_for_so_many_clusters() -> None:
    """Two different points, four places: the clusters' first, then the most active of the rest."""
    alike = [fan(f"w{n}", "war", 10 + n, number=1) for n in range(4)]
    other = [fan("love", "love", 10, number=1)]

    def rounding(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return Kinds()(texts) * np.float32(1 + 1e-7 * (len(texts) - 10))

    found = select_sharers([*alike, *other], RATING, SharersConfig(sharers=4), encoder=rounding)
    assert found == (
        Sharer(person="love", items=10, cluster=0),
        Sharer(person="w1", items=11, cluster=None),
        Sharer(person="w2", items=12, cluster=None),
        Sharer(person="w3", items=13, cluster=1),
    )


def test_histories_stream_by_and_only_clusters_are_encoded() -> None:
    encoder = Kinds()
    alive = 0

    def streamed() -> Iterator[History]:
        nonlocal alive
        for history in people():
            assert len(encoder.calls) == alive  # everyone before was encoded, nobody is kept back
            alive += 1
            yield history

    select_sharers(streamed(), RATING, SharersConfig(sharers=3), encoder=encoder)
    assert encoder.calls == [len(history.items) for history in people()]
    for strategy in ("most-active", "random"):
        config = SharersConfig(strategy=strategy, sharers=3)
        select_sharers(people(), RATING, config, encoder=encoder)
    assert len(encoder.calls) == len(people())


def test_what_cannot_be_chosen_by_is_said() -> None:
    with pytest.raises(UsageError, match="need an encoder"):
        select_sharers(people(), RATING, SharersConfig(sharers=3))

    def broken(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return np.full((len(texts), 3), np.nan, dtype=np.float32)

    with pytest.raises(IntegrityError, match="an item of 'a1'"):
        select_sharers(people(), RATING, SharersConfig(sharers=3), encoder=broken)
    for wrong in ({"strategy": "best"}, {"sharers": 0}, {"least_items": 0}):
        with pytest.raises(UsageError, match=r"sharers\."):
            SharersConfig(**wrong)  # type: ignore[arg-type]
