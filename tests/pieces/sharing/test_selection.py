"""Selecting sharers: the most active person of each cluster, whatever the order of candidates."""

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
    """An encoder that knows three kinds of films; a number in a title moves its vector slightly."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls.append(len(texts))
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    @staticmethod
    def _vector(text: str) -> npt.NDArray[np.float64]:
        kind, number, *_ = text.split()
        return np.array(KINDS[kind]) + 0.01 * np.array([0.0, 1.0, -1.0]) * int(number)


def make_fan(person: str, kind: str, count: int, number: int | None = None) -> History:
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


def make_people() -> list[History]:
    """Three groups of similar people of different sizes; the most active are a1, b2 and c3."""
    sizes = {"a": (30, 12, 29, 11), "b": (14, 40, 13), "c": (10, 20, 21)}
    return [
        make_fan(f"{letter}{n}", kind, count)
        for letter, kind in zip("abc", KINDS, strict=True)
        for n, count in enumerate(sizes[letter], 1)
    ]


def select_names(
    candidates: Sequence[History], strategy: Strategy = "cluster", sharers: int = 3, **more: int
) -> list[str]:
    config = SharersConfig(strategy=strategy, sharers=sharers, **more)
    found = select_sharers(candidates, RATING, config, encoder=Kinds())
    return [sharer.person for sharer in found]


def test_select_sharers_takes_most_active_of_each_cluster() -> None:
    for seed in range(4):
        found = select_sharers(
            make_people(), RATING, SharersConfig(sharers=3, seed=seed), encoder=Kinds()
        )
        assert [(s.person, s.items) for s in found] == [("a1", 30), ("b2", 40), ("c3", 21)]
        assert sorted(s.cluster for s in found if s.cluster is not None) == [0, 1, 2]
    assert len(set(select_names(make_people(), sharers=10))) == 10


@pytest.mark.parametrize("strategy", ["cluster", "most-active", "random"])
@pytest.mark.parametrize("sharers", [2, 5])
def test_select_sharers_ignores_order_of_candidates(strategy: Strategy, sharers: int) -> None:
    expected = select_names(make_people(), strategy, sharers)
    assert len(expected) == sharers and expected == sorted(expected)
    for seed in range(3):
        mixed = make_people()
        random.Random(seed).shuffle(mixed)
        assert select_names(mixed, strategy, sharers) == expected


def test_select_sharers_breaks_ties_by_name() -> None:
    tied = [
        make_fan(name, "war", count) for name, count in zip("dcba", (15, 15, 15, 20), strict=True)
    ]
    assert select_names(tied, "most-active", 2) == ["a", "b"]
    assert select_names(tied, "most-active", 3) == ["a", "b", "c"]
    assert select_names([make_fan(name, "war", 15) for name in "dcb"], "cluster", 1) == ["b"]


def test_select_sharers_random_depends_on_seed_and_is_nested() -> None:
    draws = {tuple(select_names(make_people(), "random", 4, seed=seed)) for seed in range(12)}
    assert len(draws) > 3
    for fewer in range(1, 10):
        few, more = (set(select_names(make_people(), "random", n)) for n in (fewer, fewer + 1))
        assert few < more
    drawn_people = {name for draw in draws for name in draw}
    assert drawn_people == {history.person for history in make_people()}


@pytest.mark.parametrize("strategy", ["cluster", "most-active", "random"])
def test_select_sharers_skips_short_histories(strategy: Strategy) -> None:
    candidates = [
        make_fan("few", "war", 9),
        make_fan("enough", "war", 10),
        make_fan("more", "love", 11),
    ]
    assert select_names(candidates, strategy, 3) == ["enough", "more"]
    assert select_names(candidates, strategy, 3, least_items=9) == ["enough", "few", "more"]
    with pytest.raises(UsageError, match="none of 3 candidates has 50 items"):
        select_names(candidates, strategy, 3, least_items=50)
    with pytest.raises(UsageError, match="of 0 candidates"):
        select_names([], strategy)


def test_select_sharers_takes_all_of_too_few_with_message() -> None:
    heard: list[Event] = []
    candidates = [*make_people(), make_fan("few", "war", 3)]
    for strategy in ("cluster", "most-active", "random"):
        config = SharersConfig(strategy=strategy, sharers=50)
        found = select_sharers(candidates, RATING, config, encoder=Kinds(), listener=heard.append)
        assert [s.person for s in found] == [h.person for h in make_people()]
    assert (
        heard
        == [Message(text="10 sharers instead of 50: 1 more candidates have fewer than 10 items")]
        * 3
    )
    heard.clear()
    config = SharersConfig(strategy="most-active", sharers=10)
    select_sharers(candidates, RATING, config, listener=heard.append)
    assert heard == []


def test_select_sharers_fills_places_without_cluster_by_activity() -> None:
    """Two distinct points, four places: first the clusters' sharers, then the most active of the
    rest."""
    alike = [make_fan(f"w{n}", "war", 10 + n, number=1) for n in range(4)]
    other = [make_fan("love", "love", 10, number=1)]

    def encode_with_rounding(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return Kinds()(texts) * np.float32(1 + 1e-7 * (len(texts) - 10))

    found = select_sharers(
        [*alike, *other], RATING, SharersConfig(sharers=4), encoder=encode_with_rounding
    )
    assert found == (
        Sharer(person="love", items=10, cluster=0),
        Sharer(person="w1", items=11, cluster=None),
        Sharer(person="w2", items=12, cluster=None),
        Sharer(person="w3", items=13, cluster=1),
    )


def test_select_sharers_streams_and_encodes_for_clusters_only() -> None:
    encoder = Kinds()
    alive = 0

    def stream_histories() -> Iterator[History]:
        nonlocal alive
        for history in make_people():
            assert len(encoder.calls) == alive  # all earlier histories were encoded
            alive += 1
            yield history

    select_sharers(stream_histories(), RATING, SharersConfig(sharers=3), encoder=encoder)
    assert encoder.calls == [len(history.items) for history in make_people()]
    for strategy in ("most-active", "random"):
        config = SharersConfig(strategy=strategy, sharers=3)
        select_sharers(make_people(), RATING, config, encoder=encoder)
    assert len(encoder.calls) == len(make_people())


def test_select_sharers_rejects_bad_encoder_or_settings() -> None:
    with pytest.raises(UsageError, match="needs an encoder"):
        select_sharers(make_people(), RATING, SharersConfig(sharers=3))

    def encode_nan(texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        return np.full((len(texts), 3), np.nan, dtype=np.float32)

    with pytest.raises(IntegrityError, match="an item of 'a1'"):
        select_sharers(make_people(), RATING, SharersConfig(sharers=3), encoder=encode_nan)
    for wrong in ({"strategy": "best"}, {"sharers": 0}, {"least_items": 0}):
        with pytest.raises(UsageError, match=r"sharers\."):
            SharersConfig(**wrong)  # type: ignore[arg-type]
