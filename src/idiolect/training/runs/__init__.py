"""Training runs: plan, train, store."""
