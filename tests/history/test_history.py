"""Tests of interactions and histories: order, visibility to queries, fingerprints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idiolect.history.history import History
from idiolect.history.interaction import Interaction

TIMES = st.none() | st.integers(0, 3).map(float)


def make_item(position: int, time: float | None, text: str = "x") -> Interaction:
    return Interaction(id=str(position), position=position, fields={"text": text}, time=time)


@given(st.lists(TIMES, max_size=8))
def test_from_interactions_sorts_by_time_then_position(times: list[float | None]) -> None:
    history = History.from_interactions("ann", [make_item(p, t) for p, t in enumerate(times)][::-1])
    orders = [item.sort_key for item in history.items]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(times)
    assert sorted(item.position for item in history.items) == list(range(len(times)))


@given(st.lists(st.integers(0, 3).map(float), max_size=8), st.integers(0, 4).map(float))
def test_count_visible_to_counts_strictly_earlier_items(times: list[float], when: float) -> None:
    history = History.from_interactions("ann", [make_item(p, t) for p, t in enumerate(times)])
    # In time ties, the query sees items with an earlier position.
    query = make_item(len(times), when)
    seen = history.items[: history.count_visible_to(query)]
    assert [i.time for i in seen] == [i.time for i in history.items if (i.time or 0) <= when]
    assert history.count_visible_to(make_item(0, when)) == sum(t < when for t in times)


def test_count_visible_to_query_without_time_counts_all() -> None:
    history = History.from_interactions("ann", [make_item(0, 5.0), make_item(1, None)])
    assert history.count_visible_to(make_item(2, None)) == 2


def test_compute_fingerprint_depends_on_content_and_order_not_queries() -> None:
    one = History.from_interactions("ann", [make_item(0, 1.0, "a"), make_item(1, 2.0, "b")])
    assert (
        one.compute_fingerprint()
        == History.from_interactions("ann", one.items, [make_item(2, None)]).compute_fingerprint()
    )
    assert (
        one.compute_fingerprint()
        != History.from_interactions(
            "ann", [make_item(0, 1.0, "a"), make_item(1, 2.0, "c")]
        ).compute_fingerprint()
    )
    assert one.compute_fingerprint() != one.take_last(1).compute_fingerprint()
    assert (
        make_item(0, 1.0, "Big Text").compute_fingerprint()
        == make_item(7, None, "big text").compute_fingerprint()
    )


def test_take_last_and_hold_out_split_items() -> None:
    history = History.from_interactions(
        "ann", [make_item(p, float(p)) for p in range(5)], [make_item(9, None)]
    )
    assert [i.position for i in history.take_last(2).items] == [3, 4]
    assert history.take_last(0).items == ()
    held = history.hold_out(2)
    assert [i.position for i in held.items] == [0, 1, 2]
    assert [q.position for q in held.queries] == [3, 4]
    assert history.hold_out(0) is history
