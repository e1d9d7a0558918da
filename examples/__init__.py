"""Short programs to read and run; `tests/examples` runs them."""
