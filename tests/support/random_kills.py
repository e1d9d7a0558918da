"""Kills commands and the site at random moments, and checks what they leave behind.

A command runs in a forked process on a copy of a prepared folder, is killed with SIGKILL up to
three times, and then runs once to its end. After each kill everything that is there must be
readable and complete; at the end everything must be as it is without a kill.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from idiolect import api
from idiolect.adapters.erasure import is_store
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MissingError
from idiolect.history.dataset import read_dataset
from idiolect.history.erasure import is_dataset
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.ledger import Ledger
from idiolect.training.engine.config import EngineConfig
from support import erasure_world, pieces_world
from support.tiny_people import to_tensor_bytes

KILLS_IN_A_ROW = 3
"""Kills of the same command on the same folder, before it may run to its end."""
PEOPLE = erasure_world.PEOPLE


@dataclass(frozen=True, kw_only=True)
class KilledCommand:
    """A command to kill, and what it must leave."""

    name: str
    prepare: Callable[[Path], Any]
    """Makes the folder that the command works in."""
    run: Callable[[Path], Any]
    read_result: Callable[[Path], Any]
    """Reads what the command made, as a value that does not depend on chance."""


@dataclass(kw_only=True)
class KillTally:
    """What the kills of one command did."""

    name: str
    kills: int = 0
    """Processes that were killed while they worked."""
    runs: int = 0
    """Folders on which the command was run to its end afterwards."""
    seconds: float = 0.0
    """The time of one undisturbed run; kills are spread evenly over it."""
    faults: list[str] = field(default_factory=list)


def kill_command(command: KilledCommand, kills: int, folder: Path, *, seed: int = 0) -> KillTally:
    """Kill a command ``kills`` times at random moments and return what was found."""
    torch.set_num_threads(1)
    draw, tally = random.Random(f"{seed}{command.name}"), KillTally(name=command.name)
    template, calm = folder / "template", folder / "calm"
    _wait_for(_fork(lambda: command.prepare(template), folder / "log"), folder / "log")
    shutil.copytree(template, calm, symlinks=True)
    # The undisturbed run says how long it takes and what it makes.
    began = time.monotonic()
    _wait_for(_fork(lambda: command.run(calm), folder / "log"), folder / "log")
    tally.seconds = round(time.monotonic() - began, 3)
    expected = command.read_result(calm)
    assert find_damage(calm) == []
    place = folder / "place"
    while tally.kills < kills:
        shutil.copytree(template, place, symlinks=True)
        for _ in range(min(KILLS_IN_A_ROW, kills - tally.kills)):
            child = _fork(lambda: command.run(place), folder / "log")
            time.sleep(draw.uniform(0, tally.seconds))
            done, status = os.waitpid(child, os.WNOHANG)
            if done:  # it was faster than the kill
                if status:
                    tally.faults.append(f"it failed: {(folder / 'log').read_text()}")
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            tally.kills += 1
            tally.faults += [f"after a kill: {what}" for what in find_damage(place)]
        try:
            _wait_for(_fork(lambda: command.run(place), folder / "log"), folder / "log")
            if command.read_result(place) != expected:
                tally.faults.append("the result differs from that of an undisturbed run")
            tally.faults += [f"at the end: {what}" for what in find_damage(place)]
            tally.faults += [f"left: {path.name}" for path in place.rglob(".*.partial")]
        except ChildProcessError as error:
            tally.faults.append(f"it failed: {error}")
        tally.runs += 1
        shutil.rmtree(place)
    return tally


def find_damage(folder: Path) -> list[str]:
    """Read every artifact below a folder to its last byte; return what could not be read."""
    found: list[str] = []
    for path, _, _ in os.walk(folder):
        for is_kind, read in _READERS:
            try:
                if is_kind(Path(path)):
                    read(Path(path))
            except MissingError as error:
                # A command may remove an artifact before what is made of it.
                if "withdr" not in str(error) and "forg" not in str(error):
                    found.append(f"{Path(path).name}: {error}")
            except Exception as error:
                found.append(f"{Path(path).name}: {type(error).__name__}: {error}")
    return found


def _read_store(folder: Path) -> None:
    store = AdapterStore.open(folder)
    for person in store.people:
        store.get_adapter(person)


def _read_pool(folder: Path) -> None:
    pool = Pool.open(folder)
    for path in pool.sites:
        pool.load_gates(path)
    for sharer in pool.sharers:
        pool.load_pieces(sharer)


def _read_recipes(folder: Path) -> None:
    recipes = RecipeStore.open(folder)
    for person in recipes.people:
        recipes.load_recipe(person)


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Any]], ...] = (
    (is_dataset, lambda folder: [*read_dataset(folder)]),
    (is_store, _read_store),
    (lambda folder: (folder / Pool.HEADER_FILE).is_file(), _read_pool),
    (lambda folder: (folder / RecipeStore.HEADER_FILE).is_file(), _read_recipes),
    (lambda folder: folder.name == "ledger", lambda folder: Ledger(folder).read_entries()),
)


def _fork(work: Callable[[], Any], log: Path) -> int:
    """Start ``work`` in a child process; an exception is written to the file ``log``."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        log.write_text(traceback.format_exc()[-2000:])
    finally:
        os._exit(code)


def _wait_for(child: int, log: Path) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise ChildProcessError(log.read_text() if log.is_file() else f"status {status}")


# The commands, each on a small world.


def _read_adapters(folder: Path) -> dict[str, Any]:
    store = AdapterStore.open(folder)
    return {
        person: to_tensor_bytes(adapter)
        for person in sorted(store.people)
        if (adapter := store.get_adapter(person)) is not None
    }


def _prepare_import(folder: Path) -> None:
    folder.mkdir()
    lines = [
        f'{{"id": "c{n}", "messages": [{{"role": "user", "content": "Question {n} {m}"}}, '
        f'{{"role": "assistant", "content": "answer"}}, '
        f'{{"role": "user", "content": "Reply {n} {m}"}}]}}'
        for n in range(40)
        for m in range(10)
    ]
    (folder / "chats.jsonl").write_text("\n".join(lines))


def _run_import(folder: Path) -> None:
    api.import_data(
        api.ImportRequest(
            source=folder / "chats.jsonl", out=folder / "data", person="me", overwrite=True
        )
    )


def _prepare_shared(folder: Path) -> None:
    place = erasure_world.build_trained_world(folder)
    api.consent(api.ConsentRequest(store=place.store, people=PEOPLE, scope="pieces"))


def _run_share(folder: Path) -> None:
    place = erasure_world.ErasureWorld(folder)
    api.share(
        api.ShareRequest(
            store=place.store,
            data=place.data,
            pool=folder / "pool",
            config=erasure_world.SHARE,
            engine=EngineConfig(slots=2, checkpoint_seconds=0),
            people=PEOPLE,
            override_leakage="a test",
        )
    )


def _read_pieces(folder: Path) -> Any:
    """Return each sharer's pieces, without the pseudonyms, which are random."""
    pool = Pool.open(folder / "pool")
    return sorted(
        [
            part.numpy().tobytes()
            for _, pair in sorted(pool.load_pieces(one).items())
            for part in pair
        ]
        for one in pool.sharers
    )


def _run_forget(folder: Path) -> None:
    # A kill after the last step leaves nothing to forget; the next run says so.
    with contextlib.suppress(MissingError):
        erasure_world.ErasureWorld(folder).forget(within=(folder,))


def _read_after_forget(folder: Path) -> Any:
    """Return where a word of hers is left, and the adapters of the others."""
    name = erasure_world.ANN.encode()
    left = [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "receipt" not in path.name and name in path.read_bytes()
    ]
    return left, _read_adapters(folder / "store")


def _run_assemble(folder: Path) -> None:
    pieces_world.PiecesWorld(folder).assemble()


def _prepare_withdrawn(folder: Path) -> None:
    place = pieces_world.build_pieces_world(folder)
    place.assemble()
    (folder / "leaves.txt").write_text(min(Pool.open(place.pool).sharers))


def _run_withdraw(folder: Path) -> None:
    request = api.WithdrawRequest(
        pool=folder / "pool",
        sharers=[(folder / "leaves.txt").read_text()],
        data=folder / "data",
        within=(folder,),
    )
    # As with `forget`.
    with contextlib.suppress(MissingError):
        api.withdraw(request)


def _read_after_withdraw(folder: Path) -> Any:
    recipes = RecipeStore.open(folder / "recipes")
    pool = Pool.open(folder / "pool")
    return sorted(pool.sharers), {one: str(recipes.load_recipe(one)) for one in recipes.people}


COMMANDS = (
    KilledCommand(
        name="import",
        prepare=_prepare_import,
        run=_run_import,
        read_result=lambda folder: [
            (one.person, [item.fields for item in one.items])
            for one in read_dataset(folder / "data")
        ],
    ),
    KilledCommand(
        name="personalize",
        prepare=erasure_world.build_trained_world,
        run=lambda folder: erasure_world.ErasureWorld(folder).personalize(
            folder / "new", engine=EngineConfig(slots=2, checkpoint_seconds=0)
        ),
        read_result=lambda folder: _read_adapters(folder / "new"),
    ),
    KilledCommand(name="share", prepare=_prepare_shared, run=_run_share, read_result=_read_pieces),
    KilledCommand(
        name="forget",
        prepare=erasure_world.build_full_world,
        run=_run_forget,
        read_result=_read_after_forget,
    ),
    KilledCommand(
        name="assemble",
        prepare=pieces_world.build_pieces_world,
        run=_run_assemble,
        read_result=lambda folder: {
            one: str(RecipeStore.open(folder / "recipes").load_recipe(one))
            for one in RecipeStore.open(folder / "recipes").people
        },
    ),
    KilledCommand(
        name="withdraw",
        prepare=_prepare_withdrawn,
        run=_run_withdraw,
        read_result=_read_after_withdraw,
    ),
)
