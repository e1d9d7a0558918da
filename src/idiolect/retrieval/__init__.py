"""Picks earlier items of one person for a prompt, never one that is not earlier."""
