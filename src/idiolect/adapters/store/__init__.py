"""The adapter store on disk."""
