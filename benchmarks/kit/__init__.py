"""Parts that all benchmarks share; imports nothing from ``suites``."""
