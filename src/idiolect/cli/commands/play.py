"""``idiolect play``: play the word game in the browser.

Calls ``web.run`` directly: the site is on a higher layer than ``api``.
"""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import PATH_TYPE
from idiolect.cli.strict_command import StrictCommand


@click.command("play", cls=StrictCommand)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for other machines of the network.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 for a free one.",
)
@click.option(
    "--data",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Folder of the site.  [default: IDIOLECT_HOME, or 'idiolect' in your data folder]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of server processes; one serves a few hundred players.",
)
@click.option(
    "--moderator",
    "moderators",
    multiple=True,
    metavar="NAME",
    help="Account that becomes a moderator: at /admin/, it decides on challenges and hides "
    "answers. Repeatable.",
)
@click.option(
    "--administrator",
    "administrators",
    multiple=True,
    metavar="NAME",
    help="Account that may use all pages at /admin/: it reads all rounds and blocks or deletes "
    "people. Repeatable.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def play_command(
    host: str,
    port: int,
    data: Path | None,
    workers: int,
    moderators: tuple[str, ...],
    administrators: tuple[str, ...],
    no_browser: bool,
) -> None:
    """Play the word game in the browser.

    Starts the site on this machine and opens it in the browser. The site keeps its data in one
    folder: a database (SQLite, or the PostgreSQL database in DATABASE_URL) and a secret key that is
    made on the first start.

    To serve the site under a public name, set IDIOLECT_HOSTS=https://nyms.example.org, and let a
    proxy terminate HTTPS; set IDIOLECT_PROXY to the proxy's address. docs/site.md says what to
    configure there, and which limits the site has.

    \b
    $ idiolect play
    $ idiolect play --data class --host 0.0.0.0 --port 8080 --no-browser
    $ DATABASE_URL=postgresql://nyms:secret@localhost/nyms idiolect play --workers 2
    """
    from idiolect.web.run import serve  # imports Django

    serve(
        host=host,
        port=port,
        data=data,
        workers=workers,
        browser=not no_browser,
        moderators=moderators,
        administrators=administrators,
        tell=click.echo,
    )
