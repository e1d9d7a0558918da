"""Atomic files and folders, artifact manifests, and the metrics log."""
