"""The parts of ``benchmarks/nyms.py``."""
