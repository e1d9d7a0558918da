"""What a base needs and supports: sizes, memory, ways of running it, other tools."""
