"""The parts of ``benchmarks/throughput.py``: methods, their processes, work, result."""
