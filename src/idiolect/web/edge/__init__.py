"""What stands between the network and Django: connections, the queue for threads, and logs."""
