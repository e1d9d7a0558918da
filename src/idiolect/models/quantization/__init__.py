"""Bases whose linear layers hold weights of 4 or 8 bits."""
