"""Faster operations on CPUs."""
