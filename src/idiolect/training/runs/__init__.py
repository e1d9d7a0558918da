"""Runs of personalization: plan each person's work, train, gate, and write to the store."""
