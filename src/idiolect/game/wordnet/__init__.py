"""WordNet 3.1 as the game needs it: a table of pairs, and how it is made.

The table (`table.tsv`), the irregular plurals (`plurals.tsv`) and what they were made of
(`made_of.json`) lie here as package data, with WordNet's licence beside them. `build.py` makes them
anew from WordNet's own files (``make wordnet``); the game reads them through `idiolect.game.words`
and needs neither WordNet nor this code.
"""
