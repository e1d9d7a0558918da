"""The training engine: many people at once."""
