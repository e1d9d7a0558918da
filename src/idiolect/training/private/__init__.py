"""Training with differential privacy: one person's adapter moves along a few public directions."""
