"""Entry point of ``python -m idiolect``."""

from idiolect.cli.main import main

if __name__ == "__main__":
    main(prog_name="idiolect")
