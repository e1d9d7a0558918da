"""Read your own export format: an importer is one function and one value.

    python examples/add_an_importer.py

The format here is a CSV file of chat messages with the columns time, from, to, text. Each answer
of a person to a message becomes one item of their history, for the task "reply". To add a format to
the product, put such a module into `src/idiolect/importers/formats/` and name its `IMPORTER` in
`src/idiolect/importers/registry.py`.
"""

import csv
import tempfile
from pathlib import Path

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.importers.collector import HistoryCollector, RawRecord, ReadCounts
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport

COLUMNS = ["time", "from", "to", "text"]
EXAMPLE = """\
time,from,to,text
2026-03-01 10:00,ben,ann,How was the film?
2026-03-01 10:05,ann,ben,Too long. I liked the music.
2026-03-02 18:30,ben,ann,Tennis on Sunday?
2026-03-02 18:31,ann,ben,
2026-03-02 18:40,ann,ben,"Sure, if it stays dry."
"""


def detect(path: Path) -> bool:
    """Whether the path looks like this format; reads the first line only."""
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), []) == COLUMNS


def load(path: Path | None, options: ImportOptions) -> ImportedHistories:
    """Read the file. Raises DataError with file and line for input that cannot be right."""
    assert path is not None  # only formats that ship as a package need no path
    collector, counts = HistoryCollector(), ReadCounts(path.name, "messages")
    last_message: dict[tuple[str, str], str] = {}  # (from, to) -> text
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                time = to_unix(row["time"])
            except DataError as error:  # say where it is
                raise DataError(str(error), file=path, line=number) from error
            # A record that cannot be used is counted with its reason, never dropped silently.
            if not row["text"].strip():
                counts.count_skip("an empty message", f"line {number}")
                continue
            sender, receiver = row["from"], row["to"]
            message = last_message.pop((receiver, sender), "")
            if message:
                fields = {"context": message, "reply": row["text"]}
                record = RawRecord(id=str(number), fields=fields, time=time, where=f"line {number}")
                collector.add_item(sender, record, counts)
            last_message[sender, receiver] = row["text"]
    return ImportedHistories(
        importer=IMPORTER.name,
        source=path.name,
        task="reply",
        histories=collector.build_histories(),
        report=ImportReport(files=(counts.to_report(),), notes=collector.build_notes()),
    )


IMPORTER = Importer(
    name="chat-csv",
    title="chat messages as CSV",
    expects=f"a .csv file with the columns {', '.join(COLUMNS)}",
    detect=detect,
    load=load,
)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chats.csv")
        path.write_text(EXAMPLE, encoding="utf-8")
        imported = IMPORTER.load(path, ImportOptions())
        print(*imported.report.format_lines(), sep="\n")
        dataset = imported.write_to_folder(Path(folder, "data"))
        print(f"{len(dataset.people)} people: {', '.join(dataset.people)}")
