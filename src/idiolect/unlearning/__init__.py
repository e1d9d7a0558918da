"""Removes knowledge from a base model or an adapter. ``scorecard`` measures the result."""
