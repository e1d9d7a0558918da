"""Removes a person or records from the data and from everything derived from it."""
