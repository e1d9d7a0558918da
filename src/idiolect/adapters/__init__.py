"""Adapters as values, with stacks that run many at once, arithmetic, the store, and PEFT's
format."""
