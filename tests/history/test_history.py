"""Interactions and histories: order, what a query may see, fingerprints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idiolect.history.history import History
from idiolect.history.interaction import Interaction

TIMES = st.none() | st.integers(0, 3).map(float)


def at(position: int, time: float | None, text: str = "x") -> Interaction:
    return Interaction(id=str(position), position=position, fields={"text": text}, time=time)


@given(st.lists(TIMES, max_size=8))
def test_items_come_in_time_then_source_order(times: list[float | None]) -> None:
    history = History.from_interactions("ann", [at(p, t) for p, t in enumerate(times)][::-1])
    orders = [item.sort_key for item in history.items]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(times)
    assert sorted(item.position for item in history.items) == list(range(len(times)))


@given(st.lists(st.integers(0, 3).map(float), max_size=8), st.integers(0, 4).map(float))
def test_a_query_sees_what_is_strictly_earlier(times: list[float], when: float) -> None:
    history = History.from_interactions("ann", [at(p, t) for p, t in enumerate(times)])
    query = at(len(times), when)
    seen = history.items[: history.count_visible_to(query)]
    assert [i.time for i in seen] == [i.time for i in history.items if (i.time or 0) <= when]
    assert history.count_visible_to(at(0, when)) == sum(t < when for t in times)


def test_a_query_without_a_time_sees_everything() -> None:
    history = History.from_interactions("ann", [at(0, 5.0), at(1, None)])
    assert history.count_visible_to(at(2, None)) == 2


def test_fingerprints_follow_content_and_order_but_not_queries() -> None:
    one = History.from_interactions("ann", [at(0, 1.0, "a"), at(1, 2.0, "b")])
    assert (
        one.compute_fingerprint()
        == History.from_interactions("ann", one.items, [at(2, None)]).compute_fingerprint()
    )
    assert (
        one.compute_fingerprint()
        != History.from_interactions(
            "ann", [at(0, 1.0, "a"), at(1, 2.0, "c")]
        ).compute_fingerprint()
    )
    assert one.compute_fingerprint() != one.take_last(1).compute_fingerprint()
    assert (
        at(0, 1.0, "Big Text").compute_fingerprint()
        == at(7, None, "big text").compute_fingerprint()
    )


def test_cutting_and_holding_out() -> None:
    history = History.from_interactions("ann", [at(p, float(p)) for p in range(5)], [at(9, None)])
    assert [i.position for i in history.take_last(2).items] == [3, 4]
    assert history.take_last(0).items == ()
    held = history.hold_out(2)
    assert [i.position for i in held.items] == [0, 1, 2]
    assert [q.position for q in held.queries] == [3, 4]
    assert history.hold_out(0) is history
