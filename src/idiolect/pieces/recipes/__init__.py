"""Recipes: which pieces make an adapter, and how much of each."""
