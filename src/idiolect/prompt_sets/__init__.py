"""Prompts with their responses: readers of file formats, known data sets, and splits by prompt."""
