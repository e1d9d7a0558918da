"""Background jobs: the queue, the worker and its process."""
