"""Base models, the sentence encoder, and prompts as tokens. Torch starts on this floor."""
