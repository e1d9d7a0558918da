"""What goes out of the game: pairs of words with who gave them, histories, how far players agree.

Made of plain values (``game/plays.py``); ``reading.py`` alone knows the site's database.
"""
