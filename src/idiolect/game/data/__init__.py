"""What goes out of the game: pairs of words with who gave them, histories, how far players agree.

Made of plain values (``game/plays.py``); ``reading.py`` alone knows the site's database.
"""

from idiolect.game.data.agreement import Agreement, Precision, agreement, precision_by_count
from idiolect.game.data.files import read_pairs, write_pairs
from idiolect.game.data.histories import histories_of, player_history
from idiolect.game.data.pairs import LEAST_PLAYERS, Lexicon, PairRow, pair_rows

__all__ = [
    "LEAST_PLAYERS",
    "Agreement",
    "Lexicon",
    "PairRow",
    "Precision",
    "agreement",
    "histories_of",
    "pair_rows",
    "player_history",
    "precision_by_count",
    "read_pairs",
    "write_pairs",
]
