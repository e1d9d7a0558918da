"""Tests of the counts of other players' answers, and of the filters for slurs."""

from __future__ import annotations

import pytest

from idiolect.game.profanity import is_offensive_name, is_slur
from idiolect.web.game import answer_counts
from idiolect.web.game.models import HiddenAnswer, Word
from support.game_site import create_guests, play_round

pytestmark = pytest.mark.django_db


def list_shown_answers() -> dict[str, int]:
    """Maps the answers to "seafood" that other players see to their numbers of players."""
    return {
        top.text: top.players
        for top in answer_counts.list_top_answers(Word.objects.get(base="seafood"))
    }


def test_list_top_answers_shows_answer_from_third_player() -> None:
    for player in create_guests(2):
        play_round(player, ["shrimp", "crab"])
    assert list_shown_answers() == {}
    (third,) = create_guests(1)
    play_round(third, ["shrimps"])
    assert list_shown_answers() == {"shrimp": 3}


def test_list_top_answers_counts_repeating_player_once() -> None:
    (player,) = create_guests(1)
    for _ in range(4):
        play_round(player, ["shrimp"])
    assert list_shown_answers() == {}


def test_list_top_answers_uses_most_common_spelling() -> None:
    for player, text in zip(
        create_guests(5), ["clam", "clams", "clams", "Clams", "clam"], strict=True
    ):
        play_round(player, [text])
    assert list_shown_answers() == {"clams": 5}


def test_list_top_answers_omits_slurs_and_hidden_answers() -> None:
    for player in create_guests(4):
        play_round(player, ["shrimp", "sh1t", "wheelbarrow"])
    HiddenAnswer.objects.create(stem="wheelbarrow")
    assert list_shown_answers() == {"shrimp": 4}


def test_list_top_answers_ignores_deleted_players() -> None:
    players = create_guests(3)
    for player in players:
        play_round(player, ["shrimp"])
    players[0].delete()
    assert list_shown_answers() == {}


@pytest.mark.parametrize("text", ["bitch", "B1TCH", "fags", "fag", "wet backs", "the chink"])
def test_is_slur_finds_words_of_both_lists(text: str) -> None:
    assert is_slur(text)


@pytest.mark.parametrize("text", ["scunthorpe", "sea bass", "cocktail", "shiitake", "spade"])
def test_is_slur_allows_harmless_similar_words(text: str) -> None:
    assert not is_slur(text)


@pytest.mark.parametrize("name", ["sh1t", "sh1t_head", "xx-bitch-xx", "bitch99", "Nice.Bitch"])
def test_is_offensive_name_finds_insults_between_separators(name: str) -> None:
    assert is_offensive_name(name)


@pytest.mark.parametrize("name", ["ada", "kira.2", "Scunthorpe", "dickens", "hancock_1", "analyst"])
def test_is_offensive_name_allows_names_with_similar_letters(name: str) -> None:
    assert not is_offensive_name(name)
