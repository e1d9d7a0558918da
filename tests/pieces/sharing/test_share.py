"""Sharing: only with consent and without leakage; only numbers reach the pool; runs are
resumable."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.adapters.lora import require_lora
from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import Leak
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Event, Message, Progress
from idiolect.history.dataset import read_dataset
from idiolect.history.write import write_dataset
from idiolect.models.load import load_base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.contribution import Contribution, round_figures
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.pool.preview import PoolPreview
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import build_adapter
from idiolect.pieces.sharing.candidates import MAX_AUDIT_ITEMS, Candidates
from idiolect.pieces.sharing.leakage import Findings, audit_assembled, keep_modules
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.pieces.sharing.train_gates import train_gates
from idiolect.privacy.ledger import Ledger
from support.sharing_people import (
    BY_HEART_NAME,
    CONFIG,
    LIGHT_LEARNERS,
    PERSONAL,
    QUERY_COUNT,
    SharingPeople,
    build_sharing_people,
    read_pool_bytes,
    share_and_die,
)
from support.tiny_people import to_tensor_bytes

OPEN = replace(CONFIG, leakage=LeakageConfig(unmeasured="pass"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SharingPeople:
    return build_sharing_people(tmp_path_factory.mktemp("sharers"))


@pytest.fixture
def people(template: SharingPeople, tmp_path: Path) -> SharingPeople:
    """Each person's adapter, without any consent yet."""
    shutil.copytree(template.store, tmp_path / "store")
    shutil.copytree(template.data, tmp_path / "data")
    return SharingPeople(tmp_path)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return tmp_path / "pool"


def read_files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, except locks."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if not path.name.startswith(".")
    }


def give_no_consent(people: SharingPeople) -> None:
    pass


def consent_to_mean(people: SharingPeople) -> None:
    api.consent(api.ConsentRequest(store=people.store, people=LIGHT_LEARNERS, scope="mean"))


def revoke_consent(people: SharingPeople) -> None:
    people.give_consent(*LIGHT_LEARNERS)
    people.give_consent(*LIGHT_LEARNERS, revoke=True)


@pytest.mark.parametrize("consent", [give_no_consent, consent_to_mean, revoke_consent])
@pytest.mark.parametrize("named", [(), LIGHT_LEARNERS[:1]])
def test_share_without_consent_fails(
    people: SharingPeople,
    pool: Path,
    consent: Callable[[SharingPeople], None],
    named: tuple[str, ...],
) -> None:
    consent(people)
    with pytest.raises(MissingError, match=r"idiolect consent \S+/store --scope pieces"):
        people.share(pool, *named)
    assert not pool.exists() and not people.read_events("shared")


def test_share_fails_if_one_named_person_lacks_consent(people: SharingPeople, pool: Path) -> None:
    people.give_consent(LIGHT_LEARNERS[0])
    with pytest.raises(MissingError, match=f"{LIGHT_LEARNERS[1]!r} \\(never given\\)"):
        people.share(pool, *LIGHT_LEARNERS[:2])
    assert not pool.exists()


def test_share_adds_pieces_and_records_event(people: SharingPeople, pool: Path) -> None:
    people.give_consent(*LIGHT_LEARNERS[:2])
    done = people.share(pool)
    assert (
        done.list_people("shared") == LIGHT_LEARNERS[:2] and done.sharers == 2 and not done.present
    )
    found = Pool.open(pool)
    assert {f.sharer for f in done.findings} == {*found.sharers}
    ledger = Ledger(people.store / "ledger")
    for finding in done.findings:
        consented, shared = ledger.read_entries_of(finding.person)
        assert shared.event == "shared" and shared.details == {
            "scope": "pieces",
            "pool": found.id,
            "as": finding.sharer,
            "consented": consented.time,
            "sites": len(found.sites),
            "ratio": 1.0,
            "overridden": "",
            "harm_overridden": "",
        }
        record = found.get_record(finding.sharer)
        assert record.about == round_figures(finding.about)
        history = read_dataset(people.data).read_history(finding.person)
        told = {"items": len(history.items), "steps": 7, "gate_steps": 6, "held_out": QUERY_COUNT}
        assert told.items() <= finding.about.items()
        for artifact in ("adapter", "pieces", "assembled"):
            assert record.about[f"{artifact}_leaks"] == 0
            assert 0.5 <= record.about[f"{artifact}_auc"] <= 1
        own = people.open_adapters().get_adapter(finding.person)
        assert to_tensor_bytes(found.get_adapter(finding.sharer)) == to_tensor_bytes(own)


@pytest.mark.finding("pool-pseudonyms")
def test_share_adds_people_in_order_of_pseudonyms_only(people: SharingPeople, pool: Path) -> None:
    """Neither pool nor ledger has the order of names."""
    people.give_consent(*LIGHT_LEARNERS)
    done = people.share(pool)
    assert done.list_people("shared") == LIGHT_LEARNERS
    found = Pool.open(pool)
    assert found.sharers == tuple(sorted(found.sharers))
    # The ledger's events have the same order.
    shared = [entry.details["as"] for entry in people.read_events("shared")]
    assert shared == list(found.sharers)
    consents = [entry.who for entry in people.read_events("consented")]
    assert consents == sorted(consents)


def test_share_puts_only_numbers_and_pseudonyms_in_pool(people: SharingPeople, pool: Path) -> None:
    """Checks the files, their names, and the report."""
    people.give_consent(*LIGHT_LEARNERS, BY_HEART_NAME)
    done = people.share(pool, override_leakage="a test")
    assert done.sharers == 4
    report = done.report.read_bytes()
    everything = " ".join(read_files(pool)).encode() + b"".join(read_files(pool).values()) + report
    ledger = Ledger(people.store / "ledger")
    for history in read_dataset(people.data).iter_histories():
        texts = {text for item in history.items for text in item.fields.values() if len(text) > 4}
        own = {entry.who for entry in ledger.read_entries_of(history.person)}
        for text in (history.person, *texts, *own):
            assert text.casefold().encode() not in everything.lower()
    assert b"a test" not in b"".join(read_files(pool).values())
    for path in pool.rglob("*.json"):
        content = json.loads(path.read_text())
        for record in content["content"].get("records", ()):
            assert all(isinstance(value, (int, float)) for value in record["about"].values())


def test_share_refuses_person_who_leaks(people: SharingPeople, pool: Path) -> None:
    people.give_consent(LIGHT_LEARNERS[0], BY_HEART_NAME)
    done = people.share(pool)
    assert done.list_people("shared") == LIGHT_LEARNERS[:1] and done.list_people("refused") == (
        BY_HEART_NAME,
    )
    (finding,) = (f for f in done.findings if f.person == BY_HEART_NAME)
    assert finding.about["pieces_leaks"] == 1 and finding.about["pieces_p"] < 0.05
    assert "assembled_leaks" not in finding.about and "gate_steps" not in finding.about
    found = Pool.open(pool)
    assert len(found.sharers) == 1 and finding.sharer not in found.sharers
    (refused,) = people.read_events("refused")
    why = {"scope": "pieces", "pool": found.id, "as": finding.sharer, "why": "leaks"}
    assert refused.details == why
    told = {one["sharer"]: one for one in json.loads(done.report.read_text())["content"]["people"]}
    assert told.keys() == {finding.sharer, *found.sharers}
    assert told[finding.sharer]["artifacts"]["pieces"]["verdict"] == "leaks"
    assert not told[finding.sharer]["shared"] and told[found.sharers[0]]["shared"]


def test_share_with_override_leakage_records_reason(people: SharingPeople, pool: Path) -> None:
    people.give_consent(LIGHT_LEARNERS[0], BY_HEART_NAME)
    people.share(pool)
    before = read_files(pool)
    done = people.share(pool, override_leakage=" they are made up ")
    assert done.present == LIGHT_LEARNERS[:1] and done.list_people("overridden") == (BY_HEART_NAME,)
    (finding,) = done.findings
    assert finding.about["assembled_leaks"] == 1
    after = read_files(pool)
    assert before.items() <= after.items() and len(after) > len(before)
    events = people.read_events("shared")
    assert [e.details["overridden"] for e in events] == ["", "they are made up"]
    assert people.read_events("refused")[0].details["as"] == events[1].details["as"]
    told = json.loads(done.report.read_text())["content"]["people"]
    assert sorted(one["overridden"] for one in told) == ["", "they are made up"]
    assert all(one["shared"] for one in told)


def test_share_refuses_leak_through_assembled_adapter(
    people: SharingPeople, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def audit_with_leak(*arguments: Any, **options: Any) -> Findings:
        found = audit_assembled(*arguments, **options)["assembled"]
        leak = Leak(attack="generation", kind="phone", items=(2, 5), strength=20.0)
        one = replace(found[LIGHT_LEARNERS[0]], leaks=(leak,), verdict="leaks", refused=True)
        return {"assembled": {**found, LIGHT_LEARNERS[0]: one}}

    monkeypatch.setattr("idiolect.pieces.sharing.sharing.audit_assembled", audit_with_leak)
    people.give_consent(*LIGHT_LEARNERS[:2])
    done = people.share(pool)
    assert (
        done.list_people("refused") == LIGHT_LEARNERS[:1]
        and done.list_people("shared") == LIGHT_LEARNERS[1:2]
    )
    assert done.sharers == 1 and len(people.read_events("refused")) == 1
    assert done.findings[0].about["assembled_leaks"] == 1
    assert done.findings[0].about["assembled_generation"] == 1
    (leak,) = done.findings[0].leaks
    assert (leak.artifact, [item.number for item in leak.items]) == ("assembled", [3, 6])
    assert [item.id for item in leak.items] == ["annabel-2", "annabel-5"]
    told = {one["sharer"]: one for one in json.loads(done.report.read_text())["content"]["people"]}
    dated = [{"number": 3, "date": "1970-01-03"}, {"number": 6, "date": "1970-01-06"}]
    assert [one["items"] for one in told[done.findings[0].sharer]["leaks"]] == [dated]
    # A later run that finds nothing new keeps what the report says.
    people.share(pool, LIGHT_LEARNERS[1])
    later = json.loads(done.report.read_text())["content"]["people"]
    assert {one["sharer"]: one["leaks"] for one in later} == {
        name: one["leaks"] for name, one in told.items()
    }


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301])
def test_share_rejects_override_without_reason(
    people: SharingPeople, pool: Path, reason: str
) -> None:
    people.give_consent(BY_HEART_NAME)
    with pytest.raises(UsageError, match="the reason must have"):
        people.share(pool, override_leakage=reason)
    assert not pool.exists()


def test_share_refuses_unmeasurable_person_unless_configured(
    people: SharingPeople, pool: Path
) -> None:
    """Without queries there are no held-out items, so leakage cannot be measured."""
    bare = people.folder / "bare"
    histories = [replace(h, queries=()) for h in read_dataset(people.data).iter_histories()]
    write_dataset(bare, histories, task="rating", source="made up")
    people.give_consent(LIGHT_LEARNERS[0])
    done = api.share(api.ShareRequest(store=people.store, data=bare, pool=pool, config=CONFIG))
    assert done.list_people("refused") == LIGHT_LEARNERS[:1]
    assert "pieces_auc" not in done.findings[0].about
    told = json.loads(done.report.read_text())["content"]["people"]
    assert told[0]["artifacts"]["pieces"] == {"verdict": "not measurable"}
    assert (
        api.share(
            api.ShareRequest(store=people.store, data=bare, pool=pool, config=OPEN)
        ).list_people("shared")
        == LIGHT_LEARNERS[:1]
    )


def test_share_twice_changes_nothing(people: SharingPeople, pool: Path) -> None:
    people.give_consent(*LIGHT_LEARNERS, BY_HEART_NAME)
    first = people.share(pool)
    before, report = read_files(pool), first.report.read_bytes()
    second = people.share(pool)
    assert second.present == LIGHT_LEARNERS and not second.list_people("shared")
    assert read_files(pool) == before and second.report.read_bytes() == report
    assert len(people.read_events("shared")) == 3


def test_share_after_withdrawal_uses_new_pseudonym(people: SharingPeople, pool: Path) -> None:
    people.give_consent(LIGHT_LEARNERS[0])
    (first,) = people.share(pool).findings
    opened = Pool.open(pool)
    with opened.lock_for_writing():
        opened.remove_sharers([first.sharer])
    (second,) = people.share(pool).findings
    assert second.outcome == "shared" and second.sharer != first.sharer
    assert Pool.open(pool).sharers == (second.sharer,)


def test_share_with_ratio_shares_fixed_nested_sites(
    people: SharingPeople, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count(1)
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}")
    people.give_consent(*LIGHT_LEARNERS[:2])
    shared: dict[float, dict[str, tuple[str, ...]]] = {}
    for ratio in (0.2, 0.5):
        folder = pool.with_name(f"pool-{ratio}")
        done = people.share(folder, config=replace(OPEN, ratio=ratio))
        found = Pool.open(folder)
        shared[ratio] = {f.person: found.list_shared_modules(f.sharer) for f in done.findings}
        for finding in done.findings:
            own = people.open_adapters().get_adapter(finding.person)
            assert own is not None and finding.about["held_in"] > 0
            part = keep_modules(require_lora(own), shared[ratio][finding.person])
            assert to_tensor_bytes(found.get_adapter(finding.sharer)) == to_tensor_bytes(part)
            assert finding.about["pieces_auc"] != finding.about["adapter_auc"]
    for person in LIGHT_LEARNERS[:2]:
        assert (len(shared[0.2][person]), len(shared[0.5][person])) == (2, 4)
        assert {*shared[0.2][person]} < {*shared[0.5][person]}
    assert shared[0.5][LIGHT_LEARNERS[0]] != shared[0.5][LIGHT_LEARNERS[1]]


def test_share_respects_consent_revoked_during_run(people: SharingPeople, pool: Path) -> None:
    people.give_consent(*LIGHT_LEARNERS[:2])

    def listener(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "gates" and event.done == 0:
            people.give_consent(LIGHT_LEARNERS[1], revoke=True)

    done = people.share(pool, listener=listener)
    assert (
        done.list_people("shared") == LIGHT_LEARNERS[:1]
        and done.list_people("revoked") == LIGHT_LEARNERS[1:2]
    )
    assert done.sharers == 1 and len(people.read_events("shared")) == 1


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("gus", r"served by the base \(gated\)"),
        ("ida", "the adapter was imported, so its training items are unknown"),
        (LIGHT_LEARNERS[0], "differs from what the adapter was trained on"),
        (LIGHT_LEARNERS[1], "no history in"),
    ],
)
def test_share_explains_why_person_cannot_share(
    people: SharingPeople, pool: Path, person: str, why: str
) -> None:
    changed = people.folder / "changed"
    histories = [
        replace(h, items=h.items[1:]) if h.person == LIGHT_LEARNERS[0] else h
        for h in read_dataset(people.data).iter_histories()
        if h.person != LIGHT_LEARNERS[1]
    ]
    write_dataset(changed, histories, task="rating", source="made up")
    people.give_consent(person)
    with pytest.raises(MissingError, match=f"{person!r} cannot share: .*{why}"):
        api.share(
            api.ShareRequest(
                store=people.store, data=changed, pool=pool, config=CONFIG, people=[person]
            )
        )
    with pytest.raises(MissingError, match=f"none of the 1 people who consented can share .*{why}"):
        api.share(api.ShareRequest(store=people.store, data=changed, pool=pool, config=CONFIG))
    assert not pool.exists()
    people.give_consent(LIGHT_LEARNERS[2])
    notes: list[Event] = []
    done = api.share(
        api.ShareRequest(store=people.store, data=changed, pool=pool, config=CONFIG),
        listener=notes.append,
    )
    assert done.list_people("shared") == LIGHT_LEARNERS[2:]
    assert any(
        isinstance(n, Message) and "consented, but cannot share: 1: " in n.text for n in notes
    )


def test_share_accepts_history_that_grew(people: SharingPeople, pool: Path) -> None:
    """Later items are held out."""
    grown = people.folder / "grown"
    histories = [
        replace(h, items=(*h.items, *h.queries), queries=())
        for h in read_dataset(people.data).iter_histories()
    ]
    write_dataset(grown, histories, task="rating", source="made up")
    people.give_consent(LIGHT_LEARNERS[0])
    (one,) = api.share(
        api.ShareRequest(store=people.store, data=grown, pool=pool, config=CONFIG)
    ).findings
    (other,) = people.share(pool.with_name("other")).findings
    assert one.about["held_out"] == other.about["held_out"] == QUERY_COUNT
    assert one.about["pieces_auc"] == other.about["pieces_auc"]


def test_share_rejects_unknown_people_and_other_tasks_or_folders(
    people: SharingPeople, pool: Path
) -> None:
    people.give_consent(*LIGHT_LEARNERS)
    with pytest.raises(MissingError, match="no person named 'eve' among its 6 people"):
        people.share(pool, "eve")
    talk = people.folder / "talk"
    write_dataset(talk, [], task="reply", source="made up")
    with pytest.raises(MismatchError, match="task 'rating', but the data is for task 'reply'"):
        api.share(api.ShareRequest(store=people.store, data=talk, pool=pool, config=CONFIG))
    with pytest.raises(UsageError, match="ratio: must be above 0"):
        replace(CONFIG, ratio=0.0)
    assert not pool.exists()
    pool.mkdir()
    (pool / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        people.share(pool)
    assert [path.name for path in pool.iterdir()] == ["notes.txt"]
    assert not people.read_events("shared")


def test_load_candidate_samples_audit_items(
    people: SharingPeople, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, dataset = people.open_adapters(), read_dataset(people.data)
    base = load_base(store.base_source, dtype="float32", device="cpu")
    monkeypatch.setattr("idiolect.pieces.sharing.candidates.MAX_AUDIT_ITEMS", 5)
    assert MAX_AUDIT_ITEMS == 200
    drawn = [
        Candidates(store, dataset, base, PERSONAL, seed=seed).load_candidate(LIGHT_LEARNERS[0])
        for seed in (0, 0, 1)
    ]
    assert [len(one.subject.members) for one in drawn] == [5, 5, 5]
    assert [len(one.subject.non_members) for one in drawn] == [5, 5, 5]
    assert drawn[0].subject == drawn[1].subject != drawn[2].subject
    assert all(len(one.examples) == 12 for one in drawn)
    assert {*drawn[0].subject.members} < {*drawn[0].examples}


def test_pool_preview_equals_pool_after_adding(people: SharingPeople, pool: Path) -> None:
    people.give_consent(*LIGHT_LEARNERS)
    people.share(pool, LIGHT_LEARNERS[0], config=replace(OPEN, ratio=0.6))
    store = people.open_adapters()
    base = load_base(store.base_source, dtype="float32", device="cpu")
    candidates = Candidates(store, read_dataset(people.data), base, PERSONAL)
    coming = [candidates.load_candidate(person) for person in LIGHT_LEARNERS[1:]]
    trained = train_gates(base, [(c.person, c.adapter, c.examples) for c in coming], CONFIG.gates)
    opened = Pool.open(pool)
    some = [opened.sites[1:], opened.sites[:5]]
    entries = [
        Contribution(
            sharer=f"{n:016x}",
            adapter=c.adapter,
            gates={path: gates.adapter.vectors[path] for path in sites},
            sites=sites,
        )
        for n, (c, gates, sites) in enumerate(zip(coming, trained, some, strict=True))
    ]
    preview = PoolPreview(opened, entries)
    there, everyone = opened.sharers, preview.sharers
    target_user = {"new": coming[0].examples[-4:]}
    settings = AssembleConfig(by="gates", top_k=2)
    (before,) = assemble_recipes(base, preview, target_user, settings)
    adapter = build_adapter(before, preview)
    assert Pool.open(pool).sharers == there != everyone
    with pytest.raises(MissingError, match="does not share"):
        preview.load_pieces(entries[0].sharer, [opened.sites[0]])
    with opened.lock_for_writing():
        opened.add_sharers(entries)
    (after,) = assemble_recipes(base, opened, target_user, settings)
    assert everyone == opened.sharers and before.sharers == after.sharers
    assert torch.equal(before.pick, after.pick) and torch.equal(before.weight, after.weight)
    assert to_tensor_bytes(adapter) == to_tensor_bytes(build_adapter(after, opened))


@pytest.mark.parametrize("where", ["gates", "pool", "records", "report"])
def test_share_resumes_after_kill(people: SharingPeople, pool: Path, where: str) -> None:
    """Invariant 5; and no share without an event in the ledger."""
    people.give_consent(*LIGHT_LEARNERS[:2])
    whole = people.share(pool.with_name("whole"))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idiolect.pieces.sharing.run", "idiolect.models.tiny"])
    child = processes.Process(target=share_and_die, args=(str(people.folder), str(pool), where))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    killed = Pool.open(pool)
    told = {e.details["as"] for e in people.read_events("shared") if e.details["pool"] == killed.id}
    assert {*killed.sharers} <= told
    assert len(killed.sharers) == (2 if where == "report" else 0)
    steps: list[float] = []

    def listener(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "gates":
            steps.append(event.done)

    done = people.share(pool, listener=listener)
    if where == "report":
        assert done.present == LIGHT_LEARNERS[:2] and not steps
    else:
        assert done.list_people("shared") == LIGHT_LEARNERS[:2]
        assert min(steps) > 0  # gates resume from their checkpoint
    found = Pool.open(pool)
    ours = PoolLedger(open_people_ledger(people), found).find_present()
    theirs = {f.person: f.sharer for f in whole.findings}
    assert len(found.sharers) == 2 and ours.keys() == theirs.keys()
    other = Pool.open(pool.with_name("whole"))
    for person in LIGHT_LEARNERS[:2]:
        assert read_pool_bytes(found, ours[person]) == read_pool_bytes(other, theirs[person])
    report: Any = json.loads(done.report.read_text())["content"]
    assert {one["sharer"] for one in report["people"]} == {*found.sharers}
    assert not (people.store / "share.bin").exists()


def open_people_ledger(people: SharingPeople) -> Ledger:
    return Ledger(people.store / "ledger")
