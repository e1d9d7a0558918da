"""Optimizations for CPUs."""
