"""The rules of the game as pure functions: no Django, no clock, no global random state.

Callers pass in the time and a `random.Random`. The rules do not depend on the players, the database
or the word table.
"""
