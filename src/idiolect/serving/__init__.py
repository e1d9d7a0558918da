"""Serves predictions from people's adapters."""
