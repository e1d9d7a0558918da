"""Base models, their forward passes, and the sentence encoder. The lowest package that imports
torch."""
