"""Partial and packed forward passes of the base model."""
