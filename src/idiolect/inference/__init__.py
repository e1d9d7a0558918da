"""Answers: mixed-adapter batches, restricted-choice likelihood, free text."""
