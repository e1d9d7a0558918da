"""Histories of people as frozen values, and datasets of histories on disk."""
