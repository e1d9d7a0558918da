"""Training: one person in obvious code, many people at once, checkpoints."""
