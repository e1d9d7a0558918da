"""The pool of pieces on disk."""
