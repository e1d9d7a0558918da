"""A player's own model: their rounds train their adapter, and later results show what it says.

An app of the site beside the game, since it has tables of its own. `engine.py` is the product at
work and knows no Django; it alone loads torch, in the worker's process.
"""
