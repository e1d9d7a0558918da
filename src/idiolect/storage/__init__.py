"""What lies on disk: whole files, what they were made of, and who did what."""
