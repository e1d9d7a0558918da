"""Decides which answers are harmful."""
