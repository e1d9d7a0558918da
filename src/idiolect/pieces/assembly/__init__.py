"""Assembles a target user's adapter from the pool."""
