"""Many adapters stacked for one forward pass."""
