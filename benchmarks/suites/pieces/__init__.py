"""The parts of ``benchmarks/pieces.py``: settings, people, preparation, measurement, result."""
