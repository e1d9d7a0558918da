"""Removes the pieces of a sharer and rebuilds what was made of them."""
