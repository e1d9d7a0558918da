"""Simulated players of the game, for locust; each keeps its own tally and compares in the end.

A player becomes a guest, then plays a round about every `PACE` seconds: start, read the question,
think, send answers, read the result. What the site does not answer (it may be killed) is sent again
as a browser with patience would. At the end each fetches its plays and writes a line of JSON into
``NYMS_NOTES``: what it knows of its rounds, what the site says, and every request it made. Whoever
could not says why. `game_load.py` runs this.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import time
from typing import Any, cast
from urllib.parse import urlencode

import gevent
from locust import FastHttpUser, events, task
from locust.exception import StopUser

PACE = 10.0
"""Seconds a round, of which thinking takes the most: 200 players make 20 rounds a second."""
PACE_SPREAD = (0.7, 1.3)
"""How much of that lies between a player's two rounds, drawn anew for each."""
THINKING_SECONDS = (1.0, 6.0)
RETRY_SECONDS = 60.0
"""Seconds that a request is repeated for; a killed site is back before."""
WORDS = (
    *("thing", "part", "kind", "way", "head", "end", "time", "day", "man", "hand", "place"),
    *("side", "line", "form", "body", "point", "water", "light", "work", "house", "road"),
)

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_ROUND = re.compile(r"/nyms/rounds/([0-9a-f-]{36})/")
_SCORE = re.compile(r'<span class="points">(\d+)</span>')
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_numbers = itertools.count()


class SimulatedPlayer(FastHttpUser):
    """One person at a browser."""

    network_timeout = connection_timeout = RETRY_SECONDS

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(_numbers)
        self.draw = random.Random(self.number)
        self.token = ""
        self.next_at = 0.0
        self.known_points: dict[str, int] = {}
        """Points of rounds that the site said are finished, by id."""
        self.late_rounds = 0
        self.requests: list[tuple[str, float, float, bool]] = []
        """Name, when it began (seconds since 1970), how long it took (ms), whether it went well."""
        self.trouble = ""
        PLAYERS.append(self)

    def on_start(self) -> None:
        """Agree to the notice, which starts the first round: it is played as the others are."""
        page = self._get_page("/nyms/notice/", "notice")
        self.token = _TOKEN.findall(page.text)[0]
        self._post_form("/nyms/notice/", "agree", {})
        # Signing in as a guest made a new token.
        self.token = _TOKEN.findall(self._get_page("/nyms/", "home").text)[0]
        self.next_at = time.monotonic()

    def wait_time(self) -> float:
        """Until the next round: one every `PACE` seconds, not as a metronome would."""
        now = time.monotonic()
        self.next_at = max(now, self.next_at + self.draw.uniform(*PACE_SPREAD) * PACE)
        return self.next_at - now

    @task
    def play_round(self) -> None:
        """A round, from its start to its result."""
        started = self._post_form("/nyms/play/", "start", {})
        found = _ROUND.search(started.headers.get("Location", ""))
        if found is None:
            raise RuntimeError(f"no round began: status {started.status_code}")
        path = found[0]
        self._get_page(path, "question")
        gevent.sleep(self.draw.uniform(*THINKING_SECONDS))
        sent = self._post_form(path, "score", {"answer": self.draw.sample(WORDS, 5)})
        self.late_rounds += sent.status_code == 409
        page = self._get_page(path, "result")
        if points := _SCORE.search(page.text):
            self.known_points[found[1]] = int(points[1])

    def write_note(self) -> None:
        """Write down what this player knows and what the site says."""
        plays: dict[str, Any] = {"rounds": [], "totals": []}
        try:
            if self.token:
                plays = self._get_page("/nyms/api/my-plays.json", "export").json()
        except Exception as error:
            self.trouble = repr(error)
        line = {
            "player": self.number,
            "known": self.known_points,
            "late": self.late_rounds,
            "trouble": self.trouble or ("" if self.token else "never got in"),
            "finished": {r["id"]: r["score"] for r in plays["rounds"] if r["state"] == "finished"},
            "totals": plays["totals"],
            "requests": self.requests,
        }
        with open(os.environ["NYMS_NOTES"], "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(json.dumps(line) + "\n")

    def _get_page(self, path: str, name: str) -> Any:
        return self._request_with_retries("GET", path, name, None)

    def _post_form(self, path: str, name: str, fields: dict[str, Any]) -> Any:
        body = urlencode(fields | {"csrfmiddlewaretoken": self.token}, doseq=True)
        return self._request_with_retries("POST", path, name, body)

    def _request_with_retries(self, method: str, path: str, name: str, body: str | None) -> Any:
        until = time.monotonic() + RETRY_SECONDS
        client = cast(Any, self.client)
        while True:
            began, clock = time.time(), time.perf_counter()
            answer = client.request(
                method,
                path,
                name=name,
                data=body,
                headers=_FORM if body else {},
                allow_redirects=False,
            )
            well = answer.status_code in (200, 302, 404, 409)
            self.requests.append((name, began, 1000 * (time.perf_counter() - clock), well))
            if well:
                return answer
            if time.monotonic() > until:
                self.trouble = f"{name}: status {answer.status_code} for {RETRY_SECONDS:.0f} s"
                raise StopUser
            gevent.sleep(0.5)


PLAYERS: list[SimulatedPlayer] = []


@events.user_error.add_listener
def _record_error(user_instance: SimulatedPlayer, exception: Exception, tb: Any, **_: Any) -> None:
    user_instance.trouble = repr(exception)


@events.test_stop.add_listener
def _write_notes(environment: Any, **_: Any) -> None:
    gevent.joinall(
        [gevent.spawn(player.write_note) for player in PLAYERS], timeout=2 * RETRY_SECONDS
    )
