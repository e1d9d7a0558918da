"""Sample records of the LaMP tasks, in the format of the benchmark and the releases based on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One task: its name here and in files, a question, its fields, and a profile item."""

    task: str
    label: str
    folder: str
    input: str
    query: dict[str, str]
    gold: str
    item: dict[str, Any]
    fields: dict[str, str]


SAMPLES = [
    Sample(
        task="lamp-1",
        label="LaMP_1",
        folder="citation",
        input='For an author who has written the paper with the title "On Bees", which reference '
        'is related? Just answer with [1] or [2] without explanation. [1]: "Hives" [2]: "Cars"',
        query={"title": "On Bees", "option1": "Hives", "option2": "Cars", "citation": "[1]"},
        gold="[1]",
        item={"title": "Honey", "abstract": "It is sweet."},
        fields={"title": "Honey", "abstract": "It is sweet."},
    ),
    Sample(
        task="lamp-2",
        label="LaMP_2M",
        folder="movie_tagging",
        input="Which tag does this movie relate to among the following tags? Just answer with the "
        "tag name without further explanation. tags: [sci-fi, comedy] description: A robot laughs.",
        query={"description": "A robot laughs.", "tag": "sci-fi"},
        gold="sci-fi",
        item={"description": "Two clowns.", "tag": "Comedy"},
        fields={"description": "Two clowns.", "tag": "comedy"},
    ),
    Sample(
        task="lamp-2n",
        label="LaMP_2N",
        folder="news_categorize",
        input="Which category does this article relate to among the following categories? Just "
        "answer with the category name without further explanation. categories: [women, sports] "
        "article: The match.",
        query={"text": "The match.", "category": "sports"},
        gold="sports",
        item={"text": "A vote.", "title": "Vote", "category": "politics"},
        fields={"text": "A vote.", "title": "Vote", "category": "politics"},
    ),
    Sample(
        task="lamp-3",
        label="LaMP_3",
        folder="product_rating",
        input="What is the score of the following review on a scale of 1 to 5? just answer with "
        "1, 2, 3, 4, or 5 without further explanation. review: Broke at once.",
        query={"text": "Broke at once.", "score": "1"},
        gold="1",
        item={"text": "Lovely.", "score": 5},
        fields={"text": "Lovely.", "score": "5"},
    ),
    Sample(
        task="lamp-4",
        label="LaMP_4",
        folder="news_headline",
        input="Generate a headline for the following article: It rained.",
        query={"text": "It rained.", "title": "Rain"},
        gold="Rain",
        item={"text": "It snowed.", "title": "Snow"},
        fields={"text": "It snowed.", "title": "Snow"},
    ),
    Sample(
        task="lamp-5",
        label="LaMP_5",
        folder="scholarly_title",
        input="Generate a title for the following abstract of a paper: We count bees.",
        query={"abstract": "We count bees.", "title": "Bees, Counted"},
        gold="Bees, Counted",
        item={"abstract": "We count ants.", "title": "Ants, Counted"},
        fields={"abstract": "We count ants.", "title": "Ants, Counted"},
    ),
    Sample(
        task="lamp-6",
        label="LaMP_6",
        folder="",
        input="Generate a subject for the following email: Lunch at one?",
        query={"text": "Lunch at one?", "title": "Lunch"},
        gold="Lunch",
        item={"text": "The report.", "title": "Report"},
        fields={"text": "The report.", "title": "Report"},
    ),
    Sample(
        task="lamp-7",
        label="LaMP_7",
        folder="tweet_paraphrase",
        input="Paraphrase the following tweet without any explanation before or after it: I sleep.",
        query={"text": "I sleep.", "tweet": "zzz"},
        gold="zzz",
        item={"text": "omg coffee"},
        fields={"text": "omg coffee"},
    ),
]
BY_TASK = {sample.task: sample for sample in SAMPLES}
TITLE = "Generate a title for the following abstract of a paper: "


def make_paper(name: str, **more: Any) -> dict[str, Any]:
    """Return a profile item of LaMP-5."""
    return {"id": name, "abstract": f"Abstract {name}.", "title": f"Title {name}", **more}


def make_query(name: str, **more: Any) -> dict[str, Any]:
    """Return a query of LaMP-5."""
    return {"id": name, "input": f"{TITLE}Query {name}.", **more}


def make_golds_file(**answers: str) -> dict[str, Any]:
    """Return the content of an answer file of LaMP-5."""
    return {"task": "LaMP_5", "golds": [{"id": k, "output": v} for k, v in answers.items()]}


def write_files(folder: Path, files: dict[str, Any]) -> Path:
    """Write each file as JSON, or unchanged if its content is text; returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path.write_text(text, encoding="utf-8")
    return folder
