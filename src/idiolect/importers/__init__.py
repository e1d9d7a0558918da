"""Histories out of foreign exports: one file a format, found by name or guessed from a path."""
