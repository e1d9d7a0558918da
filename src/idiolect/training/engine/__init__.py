"""The training engine: trains many people at once."""
