"""``idiolect play``: the word game in the browser.

It is the site itself that starts here, which stands above the floor of ``api``.
"""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import PATH_TYPE


@click.command("play")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on; 0.0.0.0 lets other machines of the network play too.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--data",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Where the site keeps its database and its secret; else IDIOLECT_HOME, else a folder "
    "'idiolect' in your data folder.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many processes answer requests; one is enough for some hundred players.",
)
@click.option(
    "--moderator",
    "moderators",
    multiple=True,
    metavar="NAME",
    help="An account that may decide on challenges from now on, at /admin/. Can be repeated.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def command(
    host: str,
    port: int,
    data: Path | None,
    workers: int,
    moderators: tuple[str, ...],
    no_browser: bool,
) -> None:
    """Play the word game in the browser.

    Starts the site on this machine and opens it. What people play is kept in one folder: a
    database (SQLite, or PostgreSQL named by DATABASE_URL) and a secret that is made on the first
    start. To be reached under a name of its own, say which: IDIOLECT_HOSTS=https://nyms.example.org
    (https is the work of a proxy in front, whose address IDIOLECT_PROXY names).

    \b
    $ idiolect play
    $ idiolect play --data class --host 0.0.0.0 --port 8080 --no-browser
    $ DATABASE_URL=postgresql://nyms:secret@localhost/nyms idiolect play --workers 2
    """
    from idiolect.web.run import serve

    serve(
        host=host,
        port=port,
        data=data,
        workers=workers,
        browser=not no_browser,
        moderators=moderators,
        tell=click.echo,
    )
