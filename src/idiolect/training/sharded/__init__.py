"""Runs of personalization in shards, on several machines or on Ray."""
