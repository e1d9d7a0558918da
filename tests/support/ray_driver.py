"""A run on Ray in its own process, which prints the summary as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from idiolect import api
from idiolect.config import to_plain
from support.tiny_people import UNGATED


def main(place: Path, store: Path, shards: int) -> None:
    """Personalize all people in ``place/data`` on a local cluster with one worker."""
    done = api.personalize(
        api.PersonalizeRequest(
            data=place / "data",
            store=store,
            base=str(place / "base"),
            config=UNGATED,
            ray="local",
            shards=shards,
            workers=1,
        )
    )
    print(json.dumps(to_plain(done)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
