"""The load test's result as targets, notes and tables; measures nothing (`game_load.py` does)."""

from __future__ import annotations

from typing import Any

MAX_P95_MS = 300
"""Milliseconds that scoring may take for 95 of 100 rounds."""
PLAYERS, ROUNDS = 200, 20.0
"""So many players make so many rounds a second, at `players.PACE`."""


def build_targets(asked: Any, tallies: Any, players: int) -> list[dict[str, Any]]:
    """What was wanted and what was reached."""
    score = asked["undisturbed"]["score"]
    wanted = ROUNDS * players / PLAYERS
    wrong = sum(run[what] for run in tallies.values() for what in ("lost", "changed", "wrong_sums"))
    unheard = sum(players - run["players"] + len(run["troubles"]) for run in tallies.values())
    found = [
        (
            "Rounds scored a second",
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
            "Rounds lost, changed or summed wrongly, also over kill -9",
            "0",
            f"{wrong} of {sum(run['rounds'] for run in tallies.values())}",
            wrong == 0,
        ),
        ("Players who could not compare", "0", str(unheard), unheard == 0),
    ]
    names = ("name", "target", "reached", "met")
    return [dict(zip(names, one, strict=True)) for one in found]


def build_notes(seconds: float, workers: int, killed: Any) -> list[str]:
    """How to read the figures."""
    return [
        f"SQLite in WAL mode, {workers} process{'es' if workers > 1 else ''} of the site, as "
        f"`idiolect play` starts it. Measured over {seconds:.0f} s, once all players were in; a "
        "player begins a round every 7 to 13 s and thinks for 1 to 6 s of them.",
        "Killed: SIGKILL to the site with all its processes half-way, started again at once; "
        "players send again what was not answered. A round whose time ran out meanwhile is late "
        f"({killed['late']}) and counts for nobody.",
        "Tally: each player's own list of rounds and points against the site's, and the site's "
        "sums against its rounds.",
    ]


def build_tables(asked: dict[str, Any], tallies: dict[str, Any], run: dict[str, Any]) -> list[Any]:
    """All tables; ``asked`` and ``run`` are of the undisturbed run."""
    return [build_latency_table(asked), build_tally_table(tallies), build_cost_table(run)]


def build_latency_table(asked: dict[str, Any]) -> dict[str, Any]:
    """Table: how long requests took."""
    rows = [
        [name, one["requests"], one["p50_ms"], one["p95_ms"], one["p99_ms"]]
        for name, one in asked.items()
    ]
    columns = ["request", "number", "median, ms", "95%, ms", "99%, ms"]
    return {"title": "How long requests took, undisturbed", "columns": columns, "rows": rows}


def build_tally_table(tallies: dict[str, Any]) -> dict[str, Any]:
    """Table: what players and site say of the rounds."""
    whats = ("players", "rounds", "lost", "changed", "wrong_sums", "late", "unread")
    return {
        "title": "What players and site say of the rounds",
        "columns": ["run", *(what.replace("_", " ") for what in whats)],
        "rows": [[name, *(run[what] for what in whats)] for name, run in tallies.items()],
    }


def build_cost_table(run: dict[str, Any]) -> dict[str, Any]:
    """Table: processors' time, from the first player's coming to the last one's comparing."""
    requests = sum(len(line["requests"]) for line in run["lines"])
    rows = [
        [name, round(run[key], 1), round(1000 * run[key] / requests, 2)]
        for name, key in (("site", "site_seconds"), ("players", "players_seconds"))
    ]
    columns = ["who", "seconds", "ms a request"]
    return {"title": "Processor time, undisturbed", "columns": columns, "rows": rows}
