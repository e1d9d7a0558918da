"""The LaMP benchmark and the releases of OPPU and Per-Pcs."""
