"""Reads plays from the site's database, as the Django-free values of `idiolect.game.plays`.

Outside a running site, call ``open_site`` first. All finished rounds with at least one answer
count, both timed and untimed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.errors import MissingError
from idiolect.game.plays import AnswerRow, Plays, RoundRow, VoteRow

if TYPE_CHECKING:
    from idiolect.web.game.models import PairVote, Round


def open_site(data: Path | None = None) -> Path:
    """Set up Django for the site in the folder ``data`` (default: ``IDIOLECT_HOME``).

    Returns the folder. Raises MissingError if no site has been started there.
    """
    if data is not None:
        os.environ["IDIOLECT_HOME"] = str(data.absolute())
    from idiolect.web.config.data_dir import get_data_dir

    # `DATABASE_URL` may point to a database server, which has no file to look for.
    if not os.environ.get("DATABASE_URL") and not (get_data_dir() / "site.sqlite3").is_file():
        raise MissingError(
            f"{get_data_dir()}: no site has its data there; give the site's folder with --data"
        )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.web.settings")
    # Django reads the environment on setup, so the variables above have to be set first.
    import django

    django.setup()
    return get_data_dir()


def read_plays(player: Any | None = None) -> Plays:
    """Read all plays, or the plays of one account, in the order in which they ended."""
    from django.db.models import Prefetch

    from idiolect.web.game.models import Answer, PairVote, Round, State

    # Rounds that lapsed, were skipped or have no counted answer contain no data on words.
    rounds = Round.objects.filter(state=State.FINISHED, answered__gt=0)
    votes = PairVote.objects.all()
    if player is not None:
        rounds, votes = rounds.filter(player=player), votes.filter(player=player)
    answers = Prefetch("answers", Answer.objects.order_by("position"))
    ordered = rounds.select_related("word").prefetch_related(answers).order_by("ended_at", "pk")
    # Reading in chunks keeps a large site's model objects out of memory.
    return Plays(
        rounds=tuple(map(to_round_row, ordered.iterator(chunk_size=500))),
        votes=tuple(_iter_vote_rows(votes.order_by("given_at", "pk").iterator(chunk_size=2000))),
    )


def leave_out_hidden(plays: Plays) -> Plays:
    """Return the plays without the answers that a moderator hid from other players."""
    from idiolect.web.game.models import HiddenAnswer

    hidden = set(HiddenAnswer.objects.values_list("stem", flat=True))
    return Plays(
        rounds=tuple(
            replace(row, answers=tuple(a for a in row.answers if a.stem not in hidden))
            for row in plays.rounds
        ),
        votes=tuple(vote for vote in plays.votes if vote.stem not in hidden),
    )


def to_round_row(row: Round) -> RoundRow:
    """Convert a finished round, its word and its answers to a plain row."""
    assert row.ended_at is not None
    return RoundRow(
        id=str(row.pk),
        player=str(row.player_id),  # pyright: ignore[reportAttributeAccessIssue]
        relation=row.word.relation,
        base_word=row.word.base,
        finished=row.ended_at.timestamp(),
        answers=tuple(
            AnswerRow(text=answer.text, stem=answer.stem)
            for answer in row.answers.all()  # pyright: ignore[reportAttributeAccessIssue]
        ),
        untimed=row.untimed,
    )


def _iter_vote_rows(rows: Iterator[PairVote]) -> Iterator[VoteRow]:
    for row in rows:
        yield VoteRow(
            player=str(row.player_id),  # pyright: ignore[reportAttributeAccessIssue]
            relation=row.relation,
            base_word=row.base,
            answer=row.answer,
            stem=row.stem,
            yes=row.yes,
            given=row.given_at.timestamp(),
        )
