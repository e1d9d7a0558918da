"""What it costs to bring a base: the proof, quantization, families without fast ways."""
