"""Evaluation: compares methods on the same people and queries, and writes reports."""
