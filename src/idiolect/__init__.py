"""Idiolect: one small personal adapter per person on a shared frozen language model."""

__version__ = "0.1.0"
