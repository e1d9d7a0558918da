"""Profiles: short texts about people, made from what they wrote, by a model or as plain facts."""
