"""Training in shards, on several machines or on Ray."""
