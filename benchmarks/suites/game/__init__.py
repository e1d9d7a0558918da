"""Modules of ``benchmarks/game_relations.py`` and ``benchmarks/game_load.py``."""
