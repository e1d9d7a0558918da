"""The folder of a base model: where it comes from, whether it can be trusted, its weights."""
