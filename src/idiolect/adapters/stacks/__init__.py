"""Many adapters stacked in one buffer, so that one forward applies each to its own rows."""
