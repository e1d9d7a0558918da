"""Means of people's adapters: starting points for others, and bases for private training."""
