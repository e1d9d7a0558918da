"""Retrieval of a person's earlier items for a prompt; never of items that are not earlier."""
