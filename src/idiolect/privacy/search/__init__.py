"""Searches files of any kind for what a person left behind."""
