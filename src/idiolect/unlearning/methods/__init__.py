"""The unlearning methods, one module each."""
