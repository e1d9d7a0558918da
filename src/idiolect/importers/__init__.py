"""Importers of data exports: one module per format, selected by name or detected from a path."""
