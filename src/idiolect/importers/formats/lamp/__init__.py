"""Imports the LaMP benchmark and the releases of OPPU and Per-Pcs."""
