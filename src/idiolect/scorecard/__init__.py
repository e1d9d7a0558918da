"""Measures what unlearning removed and what it cost."""
