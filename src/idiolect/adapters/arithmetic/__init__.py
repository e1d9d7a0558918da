"""Arithmetic on adapters: concatenate, average, truncate."""
