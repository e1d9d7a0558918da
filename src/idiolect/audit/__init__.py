"""Audits of what an artifact reveals about the people it was trained on."""
