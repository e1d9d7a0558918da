"""Removes a person or records from data and from everything made of them."""
