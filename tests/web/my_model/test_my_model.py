"""Tests of players' own models: rounds train a model, which then predicts rounds on new words."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from idiolect import api
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import UsageError
from idiolect.events import Listener, Progress
from idiolect.game import predictions
from idiolect.game.export.histories import build_player_history
from idiolect.game.predictions import CLASSIFIER_FOLDER
from idiolect.game.rules.pairs import Pair
from idiolect.game.rules.relations import Relation
from idiolect.history.history import History
from idiolect.models.load import load_base
from idiolect.storage.manifest import Manifest
from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User
from idiolect.web.game import export_reader
from idiolect.web.game.export_reader import read_plays
from idiolect.web.game.models import Round
from idiolect.web.jobs import queue, worker
from idiolect.web.jobs.process import JobOutcome, JobProcess
from idiolect.web.models import Job
from idiolect.web.my_model import engine, service
from idiolect.web.my_model.models import OwnModel, PredictedAnswers, new_folder
from support.game_players import make_round
from support.game_site import log_in_with_consent, play_round, post_form
from support.tiny_people import save_tiny_base

pytestmark = pytest.mark.django_db
WORDS = ("knife", "bird", "tree", "boat", "fork", "city", "shoe", "game")
PAGE = "/nyms/my-model/"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    save_tiny_base(folder)
    return folder


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.HOME, settings.BASE = tmp_path / "home", str(base)
    settings.HOME.mkdir()
    monkeypatch.setattr(service, "MIN_ROUNDS", 4)
    return settings.HOME


def run_job(kind: str, owner: User) -> Job:
    """Runs the owner's queued job as the worker does."""
    job = queue.claim_job("w1")
    assert job is not None and (job.kind, job.owner) == (kind, owner)
    queue.run_job(job.pk, "w1")
    job.refresh_from_db()
    return job


def play_rounds(player: User, words: Sequence[str] = WORDS[:4]) -> None:
    for word in words:
        play_round(player, [f"{word}a", f"{word}b"], word)


def train_model(player: User) -> OwnModel:
    play_rounds(player)
    service.request_training(player)
    job = run_job(service.TRAIN_JOB, player)
    assert (job.state, job.problem) == (Job.State.DONE, "")
    return OwnModel.objects.get(player=player)


def build_history(answers: str) -> History:
    rounds = [
        make_round("me", word, answers, relation="hyponyms", at=n) for n, word in enumerate(WORDS)
    ]
    return build_player_history(engine.PLAYER_ID, rounds, lambda word: "")


def test_answer_predictor_predicts_learned_answers(tmp_path: Path, base: Path) -> None:
    config = engine.CONFIG.__class__(
        gate=engine.CONFIG.gate,
        train=engine.TrainConfig(epochs=30, rate=0.02),
        dtype="float32",
        device="cpu",
    )
    engine.train_player_model(
        tmp_path / "me", build_history("aa, bb"), base=str(base), config=config
    )
    own, plain = engine.AnswerPredictor(tmp_path / "me").predict_answers(
        "What are kinds of new?", "new"
    )
    assert len(own) <= engine.MAX_SHOWN_ANSWERS and {"aa", "bb"} <= set(own)
    assert not {"aa", "bb"} & set(plain)


def test_predict_answers_shows_plain_model_examples(tmp_path: Path, base: Path) -> None:
    # The examples are earlier turns, each with an end token; the player's model gets none.
    engine.train_player_model(tmp_path / "me", build_history("aa"), base=str(base))
    asked: list[tuple[str, tuple[int, ...]]] = []
    predictor = engine.AnswerPredictor(tmp_path / "me")

    def likeliest(requests: Any, **more: Any) -> list[list[str]]:
        asked.extend(requests)
        return [[], []]

    predictor._generator.beam_search = likeliest  # pyright: ignore[reportPrivateUsage]
    predictor.predict_answers("What are kinds of new?", "new")
    (player_id, own), (no_id, plain) = asked
    assert (player_id, no_id) == (engine.PLAYER_ID, "")
    assert plain[-len(own) :] == own
    tokenizer = load_base(base).tokenizer
    text = str(tokenizer.decode(list(plain[: -len(own)])))
    places = [text.index(part) for turn in engine.FEW_SHOT_EXAMPLES for part in turn]
    assert places == sorted(places) and len(places) == 8
    assert plain.count(tokenizer.eos_token_id) >= 4


def test_train_player_model_again_trains_only_changes(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    plain = api.personalize

    def spy(*args: Any, **more: Any) -> Any:
        made.append(plain(*args, **more))
        return made[-1]

    monkeypatch.setattr(api, "personalize", spy)
    for text in ("aa", "aa", "aa, bb"):
        engine.train_player_model(tmp_path / "me", build_history(text), base=str(base))
    assert [len(summary.trained) for summary in made] == [1, 0, 1]


def test_train_player_model_replaces_adapter_of_other_base(tmp_path: Path, base: Path) -> None:
    engine.train_player_model(tmp_path / "me", build_history("aa"), base=str(base))
    other = save_tiny_base(tmp_path / "other", seed=5)
    engine.train_player_model(tmp_path / "me", build_history("aa"), base=str(tmp_path / "other"))
    assert AdapterStore.open(tmp_path / "me" / "adapters").base == other.identity


def test_request_training_requires_enough_rounds(ann: User) -> None:
    play_rounds(ann, WORDS[:3])
    play_round(ann, [], "fork")  # A round without answers does not count.
    with pytest.raises(UsageError, match="3 of the 4 rounds"):
        service.request_training(ann)
    assert service.get_status(ann).remaining_rounds == 1


def test_jobs_train_model_and_predict_new_rounds(ann: User, ben: User, home: Path) -> None:
    model = train_model(ann)
    assert (model.rounds, model.answers) == (4, 8)
    assert sorted(model.words) == sorted(["hyponyms", word] for word in WORDS[:4])
    folder = service.get_model_folder(model)
    assert folder.parent == home / service.MODELS_FOLDER and "ann" not in str(folder)
    # A round on a new word waits for the job, which then stores the prediction.
    fresh = play_round(ann, ["robin", "owl"], "fork")
    assert service.find_or_request_prediction(fresh) == ("waiting", None)
    assert run_job(service.PREDICT_JOB, ann).result == {"rounds": 1}
    state, guess = service.find_or_request_prediction(fresh)
    assert state == "there" and guess is not None
    assert (guess.answers, len(guess.own) <= 10) == (2, True)
    assert guess.own_found <= 2 and guess.plain_found <= 2
    known = service.summarize_accuracy(model)
    assert (known.rounds, known.answers) == (1, 2)
    assert (known.own, known.plain) == (guess.own_found, guess.plain_found)


def test_find_or_request_prediction_skips_training_data(ann: User) -> None:
    first = play_round(ann, ["knifea"], "knife")
    train_model(ann)
    assert service.find_or_request_prediction(first)[0] == "before"
    again = play_round(ann, ["knifec"], "knife")
    assert service.find_or_request_prediction(again)[0] == "learned"
    # No job was queued for either round.
    assert queue.claim_job("w1") is None
    empty = play_round(ann, [], "fork")
    assert service.find_or_request_prediction(empty)[0] == "none"


def test_find_or_request_prediction_without_model_queues_nothing(ben: User) -> None:
    assert service.find_or_request_prediction(play_round(ben, ["owl"], "bird")) == ("none", None)
    assert queue.claim_job("w1") is None


def test_predict_job_counts_matches_by_stem(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    train_model(ann)

    def said(
        self: engine.AnswerPredictor, question: str, base_word: str
    ) -> tuple[list[str], list[str]]:
        assert question == "What are kinds of fork?"
        # "robins" matches the player's "robin" by stem.
        return ["robins", "eagle"], ["owl", "robin"]

    monkeypatch.setattr(engine.AnswerPredictor, "predict_answers", said)
    fresh = play_round(ann, ["robin", "owl", "wren"], "fork")
    service.find_or_request_prediction(fresh)
    run_job(service.PREDICT_JOB, ann)
    guess = PredictedAnswers.objects.get(round=fresh)
    assert (guess.answers, guess.own_found, guess.plain_found) == (3, 1, 2)
    model = OwnModel.objects.get(player=ann)
    assert (
        service.summarize_accuracy(model).own_percent,
        service.summarize_accuracy(model).plain_percent,
    ) == (33, 67)


def test_train_job_restarts_after_killed_worker(ann: User) -> None:
    play_rounds(ann)
    job = service.request_training(ann)
    assert service.request_training(ann) == job
    # Another worker claimed the job and stopped, so its lease is over.
    assert queue.claim_job("dead") == job
    Job.objects.filter(pk=job.pk).update(lease_until=job.made_at)
    assert run_job(service.TRAIN_JOB, ann).state == Job.State.DONE
    assert OwnModel.objects.get(player=ann).trained_at is not None


def test_train_job_reports_progress_in_answers(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def train(*args: Any, listener: Listener, **more: Any) -> None:
        # Only the second event says how far the training is; the first one is not shown.
        listener(Progress(stage="people", done=0, total=1, unit="people"))
        listener(Progress(stage="training", done=4, total=8, unit="items"))
        job = Job.objects.get(owner=ann)
        seen.append((job.stage, job.percent))

    monkeypatch.setattr(engine, "train_player_model", train)
    train_model(ann)
    assert seen == [("learning", 50)]


def test_model_page_shows_progress_from_rounds_to_model(ann: User, site: Client) -> None:
    log_in_with_consent(site, ann)
    play_rounds(ann, WORDS[:2])
    # Too few rounds: the page shows progress, and a POST is refused.
    page = site.get(PAGE).content.decode()
    assert "2 of 4 rounds" in page and "Train my model" not in page
    assert post_form(site, PAGE, {}, at="/nyms/").status_code == 409
    play_rounds(ann, WORDS[2:4])
    assert "Train my model" in site.get(PAGE).content.decode()
    assert post_form(site, PAGE, {}, at=PAGE).status_code == 302
    # While the job waits, the page polls for the part that changes.
    page = site.get(PAGE).content.decode()
    assert "waiting for its turn" in page and "hx-trigger" in page and "<progress" in page
    part = site.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert part.startswith('<div id="own-model"') and "<html" not in part
    run_job(service.TRAIN_JOB, ann)
    page = site.get(PAGE).content.decode()
    assert "8 answers in 4 rounds" in page and "hx-trigger" not in page


def test_result_page_shows_predictions_of_both_models(
    ann: User, site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in_with_consent(site, ann)
    train_model(ann)
    monkeypatch.setattr(
        engine.AnswerPredictor, "predict_answers", lambda *_: (["robin", "<b>gull"], ["albatross"])
    )
    fresh = play_round(ann, ["robin", "owl"], "fork")
    result = site.get(reverse("game:round", args=[fresh.pk])).content.decode()
    where = reverse("my_model:answers", args=[fresh.pk])
    assert f'hx-get="{where}"' in result
    # htmx loads the part, which polls until the job is done.
    part = site.get(where, headers={"HX-Request": "true"}).content.decode()
    assert "thinking" in part and "hx-trigger" in part and "<html" not in part
    run_job(service.PREDICT_JOB, ann)
    part = site.get(where, headers={"HX-Request": "true"}).content.decode()
    assert "1 of your 2 answers is among" not in part and "hx-trigger" not in part
    assert "1 of your 2 answers" in part and "the same model finds 0" in part
    assert "albatross" in part and "&lt;b&gt;gull" in part and "50 %" in part and "0 %" in part
    assert "<html" in site.get(where).content.decode()


@pytest.mark.finding("http-held")
def test_answers_page_hides_rounds_of_other_players(ann: User, ben: User, site: Client) -> None:
    log_in_with_consent(site, ann)
    theirs = play_round(ben, ["robin"], "bird")
    assert site.get(reverse("my_model:answers", args=[theirs.pk])).status_code == 404


def test_delete_page_removes_model_and_keeps_rounds(ann: User, site: Client) -> None:
    log_in_with_consent(site, ann)
    model = train_model(ann)
    assert service.get_model_folder(model).is_dir()
    assert post_form(site, reverse("my_model:forget"), {}, at=PAGE).status_code == 302
    assert not service.get_model_folder(model).exists()
    assert not OwnModel.objects.exists() and Round.objects.filter(player=ann).count() == 4


def test_erase_person_removes_model_and_classifier(
    ann: User, ben: User, home: Path, django_capture_on_commit_callbacks: Any
) -> None:
    mine, theirs = train_model(ann), train_model(ben)
    service.find_or_request_prediction(play_round(ann, ["robin"], "fork"))
    run_job(service.PREDICT_JOB, ann)
    assert len(personal_data.export_person(ann)["own model"]["guesses"]) == 1
    # A classifier that learned from the player's answers, and its predictions.
    (home / CLASSIFIER_FOLDER).mkdir()
    (home / CLASSIFIER_FOLDER / "weights").write_bytes(b"1")
    Manifest.from_folder(
        home / CLASSIFIER_FOLDER, kind="classifier", contributors=(str(ann.pk),)
    ).save(home / CLASSIFIER_FOLDER)
    pair = Pair(relation=Relation.HYPONYMS, base_word="bird", answer="robin")
    predictions.write_predictions(home / predictions.PREDICTIONS_FILE, [pair])
    with django_capture_on_commit_callbacks(execute=True):
        personal_data.erase_person(ann)
    assert not service.get_model_folder(mine).exists() and service.get_model_folder(theirs).is_dir()
    assert not PredictedAnswers.objects.exists() and OwnModel.objects.count() == 1
    assert (
        not (home / CLASSIFIER_FOLDER).exists()
        and not (home / predictions.PREDICTIONS_FILE).exists()
    )


@pytest.mark.finding("deleted-player-remains")
@pytest.mark.parametrize("moment", ["start", "files", "trained"])
@pytest.mark.parametrize("leaving", ["account", "model"])
@pytest.mark.parametrize("killed", [False, True])
def test_deletion_during_training_leaves_no_file(
    ann: User,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
    moment: str,
    leaving: str,
    killed: bool,
) -> None:
    def leave_at(now: str) -> None:
        if now == moment:
            with django_capture_on_commit_callbacks(execute=True):
                if leaving == "account":
                    personal_data.erase_person(ann)
                else:
                    service.delete_model(ann)

    class Killed(BaseException):
        """The end of the process."""

    def train(folder: Path, history: History, **more: Any) -> None:
        # Training writes its files before and after the deletion.
        for part in ("files", "trained"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / part).write_text("words of the player")
            leave_at(part)
            (folder / f"after {part}").parent.mkdir(parents=True, exist_ok=True)
            (folder / f"after {part}").write_text("words of the player")
        if killed:
            raise Killed

    def read_and_leave(player: User) -> Any:
        plays = read_plays(player)
        leave_at("start")
        return plays

    monkeypatch.setattr(engine, "train_player_model", train)
    monkeypatch.setattr(export_reader, "read_plays", read_and_leave)
    play_rounds(ann)
    queued = service.request_training(ann)
    process = cast(JobProcess, InlineProcess(Killed))
    assert worker.run_next_job("w1", process)
    assert list((home / service.MODELS_FOLDER).glob("*/*")) == []
    assert not OwnModel.objects.exists() and not Job.objects.filter(state="done").exists()
    assert Job.objects.filter(pk=queued.pk).exists() == (leaving == "model")


class InlineProcess:
    """A job process that runs its job at once, in this process."""

    def __init__(self, killed: type[BaseException]) -> None:
        self.killed = killed

    def submit(self, job: str) -> None:
        with contextlib.suppress(self.killed):
            queue.run_job(UUID(job), "w1")

    def wait(self, timeout: float) -> JobOutcome | None:
        return "done"


@pytest.mark.finding("deleted-player-remains")
def test_deleting_model_during_predictions_leaves_none(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_model(ann)
    fresh = play_round(ann, ["robin"], "fork")
    service.find_or_request_prediction(fresh)

    def predict(*_: Any) -> tuple[list[str], list[str]]:
        service.delete_model(ann)
        return ["robin"], ["owl"]

    monkeypatch.setattr(engine.AnswerPredictor, "predict_answers", predict)
    assert run_job(service.PREDICT_JOB, ann).state == Job.State.CANCELLED
    assert not PredictedAnswers.objects.exists()


@pytest.mark.finding("deleted-player-remains")
def test_clean_up_removes_files_of_deleted_people(ann: User, ben: User, home: Path) -> None:
    kept = service.get_model_folder(train_model(ben))
    # The site was killed between the deletion's commit and the removal of files.
    left = home / service.MODELS_FOLDER / new_folder()
    (left / "history").mkdir(parents=True)
    (left.parent / "notes").mkdir()  # not a folder of ours
    (home / CLASSIFIER_FOLDER).mkdir()
    Manifest(kind="classifier", contributors=(str(ben.pk), "999999")).save(home / CLASSIFIER_FOLDER)
    worker.clean_up()
    assert sorted(path.name for path in left.parent.iterdir()) == sorted([kept.name, "notes"])
    assert not (home / CLASSIFIER_FOLDER).exists()


def test_erase_person_keeps_classifier_of_others(
    ann: User, ben: User, home: Path, django_capture_on_commit_callbacks: Any
) -> None:
    (home / CLASSIFIER_FOLDER).mkdir()
    Manifest(kind="classifier", contributors=(str(ben.pk),)).save(home / CLASSIFIER_FOLDER)
    with django_capture_on_commit_callbacks(execute=True):
        personal_data.erase_person(ann)
    assert (home / CLASSIFIER_FOLDER / Manifest.NAME).is_file()


def test_site_urls_load_no_training_libraries(tmp_path: Path) -> None:
    # A fresh process, because the tests themselves load torch.
    code = (
        "import django, sys; django.setup(); import idiolect.web.urls; "
        "print([n for n in ('torch', 'transformers', 'pyarrow', 'scipy') if n in sys.modules])"
    )
    environment = {
        **os.environ,
        "IDIOLECT_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "idiolect.web.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
