"""The command line: each command parses options, calls one function of ``api``, and prints."""
