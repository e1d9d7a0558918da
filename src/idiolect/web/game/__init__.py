"""The Django app of the word game."""
