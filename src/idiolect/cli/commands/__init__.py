"""One module per command; each defines a click command called ``<module>_command``."""
