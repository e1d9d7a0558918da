"""Kills the site while people play, restarts it, and compares its record with the players' own."""

from __future__ import annotations

import http.cookiejar
import json
import random
import re
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from suites.game.site import SiteProcess
from support.random_kills import KillTally

PLAYERS = 3
MOST_PLAYING_SECONDS = 1.5
"""A site is killed at most so long after its players are back."""
_WORDS = ("thing", "part", "water", "light", "house", "road", "work", "hand", "time", "day")
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ROUND = re.compile(r"/nyms/rounds/([0-9a-f-]{36})/")
_SCORE = re.compile(r'<span class="points">(\d+)</span>')


class GuestPlayer:
    """A guest with a browser session, who notes the points of each round whose result was shown."""

    def __init__(self, number: int) -> None:
        self.draw = random.Random(number)
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.browser = urllib.request.build_opener(cookies)
        self.shown_points: dict[str, int] = {}
        self.site = ""

    def sign_in(self) -> None:
        """Accept the game's notice, which makes a guest."""
        page = self._read("/nyms/notice/")
        self._read("/nyms/notice/", {"csrfmiddlewaretoken": _TOKEN.findall(page)[0]})

    def play_until(self, stopped: threading.Event) -> None:
        """Play rounds until the event is set or the site is gone."""
        while not stopped.is_set():
            try:
                self.play_round()
            except (OSError, urllib.error.URLError, ConnectionError):
                return

    def play_round(self) -> None:
        """Play one round to its result."""
        token = _TOKEN.findall(self._read("/nyms/"))[0]
        question = self._open("/nyms/play/", {"csrfmiddlewaretoken": token})
        path = _ROUND.search(question.url)
        assert path is not None, question.url
        answers = {"answer": self.draw.sample(_WORDS, 5), "csrfmiddlewaretoken": token}
        page = self._read(path[0], answers)
        if points := _SCORE.search(page):
            self.shown_points[path[1]] = int(points[1])

    def read_own_record(self) -> dict[str, Any]:
        """Return the site's record of this player."""
        return json.loads(self._read("/nyms/api/my-plays.json"))

    def _read(self, path: str, form: dict[str, Any] | None = None) -> str:
        return self._open(path, form).read().decode()

    def _open(self, path: str, form: dict[str, Any] | None = None) -> Any:
        body = None if form is None else urlencode(form, doseq=True).encode()
        return self.browser.open(self.site + path, body, timeout=60)


def kill_site(kills: int, folder: Path, *, seed: int = 0) -> KillTally:
    """Kill the site ``kills`` times while people play, and return what was lost or wrong."""
    draw, tally = random.Random(seed), KillTally(name="site")
    site = SiteProcess(folder)
    players = [GuestPlayer(number) for number in range(PLAYERS)]
    for _ in range(kills):
        site.start()
        for player in players:
            player.site = site.address.rstrip("/")
            # Everything that a player was shown must be there after the kill.
            if not player.shown_points and tally.kills == 0:
                player.sign_in()
            tally.faults += compare_record(player)
        stopped = threading.Event()
        threads = [threading.Thread(target=one.play_until, args=(stopped,)) for one in players]
        for thread in threads:
            thread.start()
        time.sleep(draw.uniform(0, MOST_PLAYING_SECONDS))
        site.stop(signal.SIGKILL)
        tally.kills += 1
        stopped.set()
        for thread in threads:
            thread.join()
        tally.faults += find_database_damage(folder / "site.sqlite3")
    site.start()
    for player in players:
        player.site = site.address.rstrip("/")
        tally.faults += compare_record(player)
    site.stop()
    tally.runs = sum(len(player.shown_points) for player in players)
    return tally


def compare_record(player: GuestPlayer) -> list[str]:
    """Compare the rounds a player was shown with the site's record, and its totals with these."""
    record = player.read_own_record()
    finished = {r["id"]: r["score"] for r in record["rounds"] if r["state"] == "finished"}
    shown = player.shown_points
    faults = [f"lost: {name}" for name in shown if name not in finished]
    faults += [
        f"changed: {name}" for name, points in shown.items() if finished.get(name, points) != points
    ]
    totals = (
        sum(t["rounds"] for t in record["totals"]),
        sum(t["points"] for t in record["totals"]),
    )
    if totals != (len(finished), sum(finished.values())):
        faults.append(f"totals {totals}, rounds {len(finished)}, points {sum(finished.values())}")
    return faults


def find_database_damage(path: Path) -> list[str]:
    """Return what SQLite's own check finds in a database."""
    with closing(sqlite3.connect(path)) as database:
        found = [row[0] for row in database.execute("pragma integrity_check")]
    return [] if found == ["ok"] else found
