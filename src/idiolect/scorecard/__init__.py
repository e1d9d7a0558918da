"""Measures what unlearning did and what it cost."""
