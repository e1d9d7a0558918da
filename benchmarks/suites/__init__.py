"""The parts of each benchmark."""
