"""What people wrote and chose: frozen values, and datasets of them on disk."""
