"""The parts of ``benchmarks/unlearning.py``: settings, prompt sets, models, result."""
