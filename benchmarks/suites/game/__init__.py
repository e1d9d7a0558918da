"""The parts of ``benchmarks/game_relations.py``."""
