"""Prompts as tokens: chat template, rendering, context, batches."""
