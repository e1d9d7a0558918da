"""Private training on film ratings: gain, time, membership and canaries."""
