"""Exports of the game: the table of word pairs, players' histories, and a report on agreement.

All are computed from plain values (``game/plays.py``), without the site's database.
"""
