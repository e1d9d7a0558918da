"""Judges that decide which answers are harmful, and detectors of refusals and degenerate
answers."""
