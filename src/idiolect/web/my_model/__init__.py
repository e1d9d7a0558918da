"""A player's own model: rounds train an adapter, and later results show what it would answer.

This is a Django app of its own with its own tables. Only `engine` loads torch, in the worker
process; it does not depend on Django.
"""
