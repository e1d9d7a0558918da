"""LaMP-7: a tweet in the person's own words, from a neutral paraphrase of it.

A query has ``text`` (the paraphrase) and ``tweet`` (what the person wrote). An item is a tweet of
the person in ``text``, without a paraphrase.
"""

from __future__ import annotations

from idiolect.history.interaction import Interaction
from idiolect.tasks.lamp.query_parser import make_query_parser
from idiolect.tasks.record import record_key
from idiolect.tasks.task import Prompt, Task


def _get_tweet(item: Interaction) -> str:
    # The person's own words are a query's target ("tweet"), but an item's only field ("text").
    return item.fields.get("tweet", item.fields["text"])


TASK = Task(
    name="lamp-7",
    title="tweet paraphrase",
    input_fields=("text",),
    history_fields=("text",),
    target_field="tweet",
    metrics=("rouge_1", "rouge_l", "perplexity"),
    prompt=lambda item: Prompt(
        before="Rewrite this tweet in my style:\n", body=item.fields["text"]
    ),
    retrieved_text=lambda item: f"Tweet: {_get_tweet(item)}",
    search_text=lambda item: item.fields["text"],
    index_text=_get_tweet,
    passage=_get_tweet,
    record_key=lambda item: record_key(_get_tweet(item)),
    parse_input=make_query_parser(
        "lamp-7",
        "Paraphrase the following tweet without any explanation before or after it: {text}",
    ),
    profile_question="What does this person tweet about, and in which tone and style? "
    "Answer in one sentence.",
    labeled=False,
)
