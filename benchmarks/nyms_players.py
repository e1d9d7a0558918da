"""Simulated players of the game, for locust; each keeps its own tally and compares in the end.

A player becomes a guest, then plays a round about every `PACE` seconds: start, read the question,
think, send answers, read the result. What the site does not answer (it may be killed) is sent again
as a browser with patience would. At the end each fetches its plays and writes a line of JSON to
``NYMS_TALLY``: what it knows of its rounds, and what the site says. `nyms_load.py` runs this.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from typing import Any

import gevent
from locust import HttpUser, constant_pacing, events, task
from locust.exception import StopUser

PACE = 10.0
"""Seconds a round, of which thinking takes the most: 200 players make 20 rounds/s."""
THINKING = (1.0, 6.0)
PATIENCE = 60.0
"""Seconds that a request is repeated for; a killed site is back before."""
WORDS = (
    *("thing", "part", "kind", "way", "head", "end", "time", "day", "man", "hand", "place"),
    *("side", "line", "form", "body", "point", "water", "light", "work", "house", "road"),
)

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ROUND = re.compile(r"/nyms/rounds/([0-9a-f-]{36})/")
_SCORE = re.compile(r'<span class="points">(\d+)</span>')


class Player(HttpUser):
    """One person at a browser."""

    wait_time = constant_pacing(PACE)

    def on_start(self) -> None:
        """Agree to the notice; that starts the first round, which is skipped."""
        self.draw = random.Random(id(self))
        self.known: dict[str, int] = {}
        """Points of rounds that the site said are finished, by id."""
        self.late = 0
        time.sleep(self.draw.random() * PACE)
        page = self._get("/nyms/notice/", "notice")
        self.token = _TOKEN.findall(page.text)[0]
        self._post("/nyms/notice/", "agree", {})
        # Signing in as a guest made a new token.
        self.token = _TOKEN.findall(self._get("/nyms/", "home").text)[0]

    @task
    def play(self) -> None:
        """A round, from its start to its result."""
        started = self._post("/nyms/play/", "start", {})
        found = _ROUND.search(started.headers.get("Location", ""))
        if found is None:
            return
        path = found[0]
        self._get(path, "question")
        gevent.sleep(self.draw.uniform(*THINKING))
        answers = self.draw.sample(WORDS, 5)
        sent = self._post(path, "score", {"answer": answers})
        self.late += sent.status_code == 409
        page = self._get(path, "result")
        if points := _SCORE.search(page.text):
            self.known[found[1]] = int(points[1])

    def compare(self) -> None:
        """Write down what this player knows and what the site says."""
        plays = self._get("/nyms/my-plays.json", "export").json()
        line = {
            "known": self.known,
            "late": self.late,
            "finished": {r["id"]: r["score"] for r in plays["rounds"] if r["state"] == "finished"},
            "totals": plays["totals"],
        }
        with open(os.environ["NYMS_TALLY"], "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(json.dumps(line) + "\n")

    def _get(self, path: str, name: str) -> Any:
        return self._patiently("GET", path, name, {})

    def _post(self, path: str, name: str, fields: dict[str, Any]) -> Any:
        return self._patiently("POST", path, name, fields | {"csrfmiddlewaretoken": self.token})

    def _patiently(self, method: str, path: str, name: str, fields: dict[str, Any]) -> Any:
        until = time.monotonic() + PATIENCE
        while True:
            with self.client.request(
                method,
                path,
                name=name,
                data=fields or None,
                allow_redirects=False,
                catch_response=True,
            ) as answer:
                if answer.status_code in (200, 302, 404, 409):
                    answer.success()
                    return answer
                if answer.status_code:
                    answer.failure(f"status {answer.status_code}")
                else:
                    answer.failure("no answer")
            if time.monotonic() > until:
                raise StopUser
            gevent.sleep(0.5)


PLAYERS: list[Player] = []


@events.user_error.add_listener
def _tell(user_instance: object, exception: Exception, tb: Any, **_: Any) -> None:
    print(f"a player stopped: {exception!r}", flush=True)


@events.test_start.add_listener
def _remember(environment: Any, **_: Any) -> None:
    start = Player.on_start

    def on_start(self: Player) -> None:
        start(self)
        PLAYERS.append(self)

    Player.on_start = on_start


@events.test_stop.add_listener
def _compare(environment: Any, **_: Any) -> None:
    gevent.joinall([gevent.spawn(player.compare) for player in PLAYERS], timeout=PATIENCE)
