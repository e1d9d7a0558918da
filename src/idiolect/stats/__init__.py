"""Numbers in, numbers out: what an answer is worth, and whether a difference is real."""
