"""Training of adapters: the reference loop, the engine for many people, runs, and sharded runs."""
