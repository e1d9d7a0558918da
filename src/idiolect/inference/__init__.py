"""Inference with many people's adapters in one batch: likelihoods, restricted choice,
generation."""
