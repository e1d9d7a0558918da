"""The parts of ``benchmarks/unlearning.py``: what is asked, what is made, what is shown."""
