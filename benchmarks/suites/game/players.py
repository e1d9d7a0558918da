"""Simulated players of the game, as a locust file that `game_load.py` runs.

A player signs in as a guest and plays a round about every `PACE` seconds: start, read the question,
think, send answers, read the result. It repeats requests that the site does not answer, since the
site may be killed. At the end each player downloads its plays and appends a line of JSON to the
file ``NYMS_NOTES``: its own record of rounds, the site's record, and all requests. If that failed,
the line contains the error.
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
"""Mean seconds between the starts of a player's rounds: 200 players play 20 rounds per second."""
PACE_SPREAD = (0.7, 1.3)
"""Range of the factor on `PACE`, drawn for each round."""
THINKING_SECONDS = (1.0, 6.0)
RETRY_SECONDS = 60.0
"""Seconds for which a request is repeated; a killed site is back earlier."""
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
    """One simulated player with a browser session."""

    network_timeout = connection_timeout = RETRY_SECONDS

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(_numbers)
        self.draw = random.Random(self.number)
        self.token = ""
        self.next_at = 0.0
        self.known_points: dict[str, int] = {}
        """Points by round id, of the rounds whose results this player has read."""
        self.late_rounds = 0
        self.requests: list[tuple[str, float, float, bool]] = []
        """(name, start in Unix seconds, duration in ms, whether it succeeded) of each request."""
        self.trouble = ""
        PLAYERS.append(self)

    def on_start(self) -> None:
        """Accept the notice. This signs in as a guest and starts the first round, which
        `play_round` continues."""
        page = self._get_page("/nyms/notice/", "notice")
        self.token = _TOKEN.findall(page.text)[0]
        self._post_form("/nyms/notice/", "agree", {})
        # Signing in as a guest rotates the CSRF token.
        self.token = _TOKEN.findall(self._get_page("/nyms/", "home").text)[0]
        self.next_at = time.monotonic()

    def wait_time(self) -> float:
        """Seconds until the next round: about `PACE` after the last one began, with jitter."""
        now = time.monotonic()
        self.next_at = max(now, self.next_at + self.draw.uniform(*PACE_SPREAD) * PACE)
        return self.next_at - now

    @task
    def play_round(self) -> None:
        """Play one round, from its start to its result."""
        started = self._post_form("/nyms/play/", "start", {})
        found = _ROUND.search(started.headers.get("Location", ""))
        if found is None:
            raise RuntimeError(f"no round began: status {started.status_code}")
        # Read the question, think, and send five answers.
        path = found[0]
        self._get_page(path, "question")
        gevent.sleep(self.draw.uniform(*THINKING_SECONDS))
        sent = self._post_form(path, "score", {"answer": self.draw.sample(WORDS, 5)})
        self.late_rounds += sent.status_code == 409
        page = self._get_page(path, "result")
        if points := _SCORE.search(page.text):
            self.known_points[found[1]] = int(points[1])

    def write_note(self) -> None:
        """Append this player's record, the site's record and all requests to the notes file."""
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
            # 404 and 409 are answers too: the round is unknown, or late.
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
