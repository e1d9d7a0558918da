"""The parts of ``benchmarks/pieces.py``: who takes part, what is prepared, what is measured."""
