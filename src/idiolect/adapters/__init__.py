"""Adapters as values, stacked for many people, in PEFT's format, and in the packed store; gates on
them."""
