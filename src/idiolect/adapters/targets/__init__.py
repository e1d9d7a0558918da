"""The modules of a base that get adapters, in models of any family."""
