"""Recipes: which pieces make up a person's adapter, and the weight of each."""
