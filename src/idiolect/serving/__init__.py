"""Answers for people from their adapters."""
