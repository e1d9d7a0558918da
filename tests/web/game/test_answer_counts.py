"""What is shown of others' answers, and what never is."""

from __future__ import annotations

import pytest

from idiolect.game.profanity import is_offensive_name, is_slur
from idiolect.web.game import answer_counts
from idiolect.web.game.models import HiddenAnswer, Word
from support.game_site import create_guests, play_round

pytestmark = pytest.mark.django_db


def shown() -> dict[str, int]:
    """Answers to seafood that others see, and how many gave each."""
    return {
        top.text: top.players
        for top in answer_counts.list_top_answers(Word.objects.get(base="seafood"))
    }


def test_an_answer_is_shown_from_the_third_player_on() -> None:
    for player in create_guests(2):
        play_round(player, ["shrimp", "crab"])
    assert shown() == {}
    (third,) = create_guests(1)
    play_round(third, ["shrimps"])
    assert shown() == {"shrimp": 3}


def test_one_player_often_is_one_player() -> None:
    (player,) = create_guests(1)
    for _ in range(4):
        play_round(player, ["shrimp"])
    assert shown() == {}


def test_it_is_shown_as_most_give_it() -> None:
    for player, text in zip(
        create_guests(5), ["clam", "clams", "clams", "Clams", "clam"], strict=True
    ):
        play_round(player, [text])
    assert shown() == {"clams": 5}


def test_slurs_and_hidden_answers_are_not_shown_however_many_give_them() -> None:
    for player in create_guests(4):
        play_round(player, ["shrimp", "sh1t", "wheelbarrow"])
    HiddenAnswer.objects.create(stem="wheelbarrow")
    assert shown() == {"shrimp": 4}


def test_who_leaves_no_longer_counts() -> None:
    players = create_guests(3)
    for player in players:
        play_round(player, ["shrimp"])
    players[0].delete()
    assert shown() == {}


@pytest.mark.parametrize("text", ["bitch", "B1TCH", "fags", "fag", "wet backs", "the chink"])
def test_both_lists_are_asked(text: str) -> None:
    assert is_slur(text)


@pytest.mark.parametrize("text", ["scunthorpe", "sea bass", "cocktail", "shiitake", "spade"])
def test_harmless_words_that_look_like_it_are_not(text: str) -> None:
    assert not is_slur(text)


@pytest.mark.parametrize("name", ["sh1t", "sh1t_head", "xx-bitch-xx", "bitch99", "Nice.Bitch"])
def test_names_that_insult_between_their_marks_are_known(name: str) -> None:
    assert is_offensive_name(name)


@pytest.mark.parametrize("name", ["ada", "kira.2", "Scunthorpe", "dickens", "hancock_1", "analyst"])
def test_names_that_only_contain_such_letters_are_free(name: str) -> None:
    assert not is_offensive_name(name)
