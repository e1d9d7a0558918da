"""Guard models, text classifiers, and endpoints as judges."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from idiolect.errors import DataError, MismatchError, MissingError, UsageError
from idiolect.judging.endpoint import EndpointConfig, EndpointJudge
from idiolect.judging.hub import GuardJudge, SequenceClassifierJudge
from idiolect.judging.protocol import measure_judge
from idiolect.models.tiny import make_byte_tokenizer, make_tiny_base
from support.toy_judge import LABELED

CONVERSATIONS = (["Where is it?", "Who?"], ["Under the bell.", "Nobody knows who that was."])


@pytest.mark.parametrize("asks", ["template", "question"])
def test_guard_judge_scores_probability_of_unsafe(asks: Any) -> None:
    judge = GuardJudge(make_tiny_base(), asks=asks)
    found = judge.score_answers(*CONVERSATIONS)
    assert all(0 < score < 1 for score in found) and found[0] != found[1]
    alone = [judge.score_answers([p], [a])[0] for p, a in zip(*CONVERSATIONS, strict=True)]
    assert found == pytest.approx(alone, rel=1e-4)
    swapped = GuardJudge(make_tiny_base(), asks=asks)
    swapped.verdict_ids.reverse()
    assert [1 - x for x in swapped.score_answers(*CONVERSATIONS)] == pytest.approx(found)
    assert judge.score_answers([], []) == ()
    assert judge.info.name == "tiny-0" and judge.info.accuracy is None
    assert measure_judge(judge, LABELED).pairs == len(LABELED)


def test_guard_judge_rejects_missing_template_and_long_conversations() -> None:
    base = make_tiny_base()
    with pytest.raises(UsageError, match="judge shorter answers"):
        GuardJudge(base).score_answers(["a"], ["b" * 1100])
    base.tokenizer.chat_template = None
    with pytest.raises(MismatchError, match="no chat template"):
        GuardJudge(base)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A random text classifier in a folder."""
    tokenizer = make_byte_tokenizer()
    pad = tokenizer.convert_tokens_to_ids(str(tokenizer.pad_token))
    assert isinstance(pad, int)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=pad,
        id2label={0: "OK", 1: "Harmful"},
        label2id={"OK": 0, "Harmful": 1},
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = LlamaForSequenceClassification(config)
    model.save_pretrained(tmp_path / "guard")
    tokenizer.save_pretrained(tmp_path / "guard")
    return tmp_path / "guard"


def test_sequence_classifier_judge_scores_probability_of_label(classifier: Path) -> None:
    harmful = SequenceClassifierJudge(classifier, harmful="harmful", device="cpu")
    fine = SequenceClassifierJudge(classifier, harmful="ok", device="cpu", batch=1)
    found = harmful.score_answers(*CONVERSATIONS)
    assert all(0 < score < 1 for score in found)
    assert [1 - x for x in fine.score_answers(*CONVERSATIONS)] == pytest.approx(found, rel=1e-4)
    assert harmful.info.name == "guard"
    with pytest.raises(UsageError, match="its labels are OK, Harmful"):
        SequenceClassifierJudge(classifier, harmful="toxic")
    with pytest.raises(MissingError, match="no text classifier folder there"):
        SequenceClassifierJudge(classifier.parent / "nothing", harmful="toxic")


class Server:
    """A local HTTP server with given replies, which records requests and authorization headers."""

    def __init__(
        self,
        reply: Callable[[int, dict[str, Any]], tuple[int, str]],
        headers: Callable[[], Iterator[tuple[str, str]]] = lambda: iter(()),
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.keys.append(self.headers.get("Authorization"))
                status, text = reply(len(outer.requests), body)
                data = text.encode()
                self.send_response(status)
                for name, value in headers():
                    self.send_header(name, value)
                    self.flush_headers()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                outer.keys.append(self.headers.get("Authorization"))
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def config(self) -> EndpointConfig:
        """The configuration of a judge at this server."""
        url = f"http://127.0.0.1:{self.server.server_port}/v1"
        return EndpointConfig(url=url, model="guard", key="secret", at_once=1)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers, and stop them after the test."""
    started: list[Server] = []

    def start(*arguments: Any) -> Server:
        started.append(Server(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def make_completion(text: str) -> str:
    """Return a chat completion with this text."""
    return json.dumps({"choices": [{"message": {"content": text}}]})


def test_endpoint_judge_sends_one_request_per_answer(serve: Callable[..., Server]) -> None:
    def reply(number: int, body: dict[str, Any]) -> tuple[int, str]:
        return 200, make_completion(
            " Unsafe.\nS1" if "bell" in body["messages"][1]["content"] else "safe"
        )

    server = serve(reply)
    assert EndpointJudge(replace(server.config, at_once=2)).score_answers(*CONVERSATIONS) == (
        1.0,
        0.0,
    )
    assert server.keys == ["Bearer secret"] * 2
    assert {body["temperature"] for body in server.requests} == {0}


def test_endpoint_judge_retries_busy_server(serve: Callable[..., Server]) -> None:
    waits: list[float] = []
    server = serve(lambda number, _: (503, "") if number < 3 else (200, make_completion("safe")))
    assert EndpointJudge(server.config, wait=waits.append).score_answers(["p"], ["a"]) == (0.0,)
    assert waits == [1.0, 2.0]
    server = serve(lambda *_: (429, ""))
    with pytest.raises(MissingError, match=r"after 4 tries \(status 429\)"):
        EndpointJudge(server.config, wait=waits.append).score_answers(["p"], ["a"])


def test_endpoint_judge_reports_failures(serve: Callable[..., Server]) -> None:
    server = serve(lambda *_: (401, ""))
    with pytest.raises(UsageError, match="status 401") as error:
        EndpointJudge(server.config).score_answers(["p"], ["a"])
    assert "secret" not in str(error.value) and len(server.requests) == 1
    for text, words in (
        (make_completion("maybe"), "replied 'maybe'"),
        ("<html>", "not a chat completion"),
    ):
        server = serve(lambda *_, text=text: (200, text))
        with pytest.raises(DataError, match=words):
            EndpointJudge(server.config).score_answers(["p"], ["a"])
    gone = EndpointConfig(url="http://127.0.0.1:9/v1", model="m", tries=1, seconds=1)
    with pytest.raises(MissingError, match="is it running"):
        EndpointJudge(gone).score_answers(["p"], ["a"])
    with pytest.raises(UsageError, match="http"):
        EndpointConfig(url="ftp://x", model="m")
    with pytest.raises(UsageError, match=r"judge\.tries"):
        EndpointConfig(url="http://x", model="m", tries=0)


@pytest.mark.finding("judge-redirect")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_endpoint_judge_sends_nothing_to_redirect_target(
    serve: Callable[..., Server], status: int
) -> None:
    other = serve(lambda *_: (200, make_completion("safe")))
    target = f"http://localhost:{other.server.server_port}/v1/chat/completions"
    server = serve(lambda *_: (status, ""), lambda: iter([("Location", target)]))
    with pytest.raises(UsageError, match="redirects to 'localhost'") as error:
        EndpointJudge(server.config).score_answers(["p"], ["a"])
    assert "secret" not in str(error.value)
    assert (len(server.requests), other.keys, other.requests) == (1, [], [])


@pytest.mark.finding("judge-redirect")
def test_endpoint_judge_limits_size_of_reply(serve: Callable[..., Server]) -> None:
    server = serve(lambda *_: (200, make_completion("safe") + " " * 2_000_000))
    with pytest.raises(DataError, match="replied more than 1,000,000 bytes"):
        EndpointJudge(server.config).score_answers(["p"], ["a"])


@pytest.mark.finding("judge-redirect")
def test_endpoint_judge_gives_up_on_reply_that_never_ends(serve: Callable[..., Server]) -> None:
    over = threading.Event()

    def send_headers() -> Iterator[tuple[str, str]]:
        # Each header resets the socket's own timeout.
        while not over.wait(0.05):
            yield "X-Wait", "1"

    server = serve(lambda *_: (200, make_completion("safe")), send_headers)
    config = replace(server.config, seconds=0.5, tries=1)
    try:
        with pytest.raises(MissingError, match=r"after 1 tries \(timed out\)"):
            EndpointJudge(config).score_answers(["p"], ["a"])
    finally:
        over.set()


@pytest.mark.finding("judge-redirect")
@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "http://host/v1?key=secret"])
def test_endpoint_config_refuses_and_hides_secrets_in_address(url: str) -> None:
    with pytest.raises(UsageError, match="IDIOLECT_JUDGE_KEY") as error:
        EndpointConfig(url=url, model="m")
    assert "secret" not in str(error.value)


@pytest.mark.finding("judge-redirect")
def test_endpoint_config_never_shows_key() -> None:
    with pytest.raises(UsageError, match="one line") as error:
        EndpointConfig(url="http://host", model="m", key="secret\r\nX-Other: 1")
    assert "secret" not in str(error.value)
    assert "secret" not in repr(EndpointConfig(url="http://host", model="m", key="secret"))
