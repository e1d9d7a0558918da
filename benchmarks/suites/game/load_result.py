"""Targets, notes and tables of the load test's result (`game_load.py` measures it)."""

from __future__ import annotations

from typing import Any

MAX_P95_MS = 300
"""Maximum 95th percentile of the time to score a round, in milliseconds."""
PLAYERS, ROUNDS = 200, 20.0
"""Number of players, and the rounds per second that they play at `players.PACE`."""


def build_targets(asked: Any, tallies: Any, players: int) -> list[dict[str, Any]]:
    """The targets with the values reached."""
    score = asked["undisturbed"]["score"]
    # The target rate scales with the number of players.
    wanted = ROUNDS * players / PLAYERS
    wrong = sum(run[what] for run in tallies.values() for what in ("lost", "changed", "wrong_sums"))
    unheard = sum(players - run["players"] + len(run["troubles"]) for run in tallies.values())
    # Latency and failures count in the undisturbed run only; correctness counts in both runs.
    found = [
        (
            "Rounds scored per second",
            f"about {wanted:g} (at least {0.95 * wanted:g})",
            f"{score['per_second']:.1f}",
            score["per_second"] >= 0.95 * wanted,
        ),
        (
            "95th percentile of scoring",
            f"below {MAX_P95_MS} ms",
            f"{score['p95_ms']:.0f} ms",
            score["p95_ms"] < MAX_P95_MS,
        ),
        (
            "Requests that failed, undisturbed",
            "0",
            str(sum(one["failures"] for one in asked["undisturbed"].values())),
            not any(one["failures"] for one in asked["undisturbed"].values()),
        ),
        (
            "Rounds lost, changed or summed wrongly, including after kill -9",
            "0",
            f"{wrong} of {sum(run['rounds'] for run in tallies.values())}",
            wrong == 0,
        ),
        ("Players who could not compare their record", "0", str(unheard), unheard == 0),
    ]
    names = ("name", "target", "reached", "met")
    return [dict(zip(names, one, strict=True)) for one in found]


def build_notes(seconds: float, workers: int, killed: Any) -> list[str]:
    """Notes on how to read the result."""
    return [
        f"SQLite in WAL mode, {workers} process{'es' if workers > 1 else ''} of the site, as "
        f"`idiolect play` starts it. Measured over {seconds:.0f} s after all players had arrived; "
        "a player begins a round every 7 to 13 s and thinks for 1 to 6 s of that.",
        "Killed: SIGKILL to all processes of the site halfway, then an immediate restart; players "
        "repeat requests that were not answered. A round whose time ran out in between is late "
        f"({killed['late']}) and does not count.",
        "Tally: each player's own list of rounds and points compared with the site's, and the "
        "site's totals compared with its rounds.",
    ]


def build_tables(asked: dict[str, Any], tallies: dict[str, Any], run: dict[str, Any]) -> list[Any]:
    """All tables; ``asked`` and ``run`` belong to the undisturbed run."""
    return [build_latency_table(asked), build_tally_table(tallies), build_cost_table(run)]


def build_latency_table(asked: dict[str, Any]) -> dict[str, Any]:
    """A table of request latencies."""
    rows = [
        [name, one["requests"], one["p50_ms"], one["p95_ms"], one["p99_ms"]]
        for name, one in asked.items()
    ]
    columns = ["request", "number", "median, ms", "95%, ms", "99%, ms"]
    return {"title": "Request latency, undisturbed", "columns": columns, "rows": rows}


def build_tally_table(tallies: dict[str, Any]) -> dict[str, Any]:
    """A table of the comparison between players' records and the site."""
    whats = ("players", "rounds", "lost", "changed", "wrong_sums", "late", "unread")
    return {
        "title": "Rounds according to players and site",
        "columns": ["run", *(what.replace("_", " ") for what in whats)],
        "rows": [[name, *(run[what] for what in whats)] for name, run in tallies.items()],
    }


def build_cost_table(run: dict[str, Any]) -> dict[str, Any]:
    """A table of CPU time, from the arrival of the first player to the last comparison."""
    requests = sum(len(line["requests"]) for line in run["lines"])
    rows = [
        [name, round(run[key], 1), round(1000 * run[key] / requests, 2)]
        for name, key in (("site", "site_seconds"), ("players", "players_seconds"))
    ]
    columns = ["process", "seconds", "ms per request"]
    return {"title": "Processor time, undisturbed", "columns": columns, "rows": rows}
