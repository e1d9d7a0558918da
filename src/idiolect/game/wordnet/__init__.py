"""The word table of the game, and the code that builds it from WordNet 3.1.

Package data: the table (`table.tsv`), irregular plurals (`plurals.tsv`), a record of the sources
(`made_of.json`) and WordNet's license (`LICENSE`). `build.py` rebuilds them from WordNet's files
(``make wordnet``). The game reads them through `idiolect.game.words` and needs neither WordNet nor
this code at run time.
"""
