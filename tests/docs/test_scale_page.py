"""``docs/scale.md``: its figures follow from measurements, its manifests and commands are right."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

from idiolect.training.sharded.parts import RunShard

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_page", ROOT / "docs/build/scale.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    importlib.sys.modules["scale_page"] = module  # type: ignore[attr-defined]
    spec.loader.exec_module(module)
    return module


def run(people: int, seconds: float) -> dict[str, Any]:
    return {
        "people": people,
        "trained": people,
        "seconds": seconds,
        "training_seconds": seconds - 1,
        "tokens": people * 1000,
        "peak_bytes": 2_500_000_000,
        "store_bytes": people * 2_000_000,
        "open_seconds": people * 1e-4,
    }


def put(docs: Path, name: str = "scale", accelerator: str | None = None) -> None:
    """A made-up measurement, and a page to be filled."""
    (docs / "results").mkdir(parents=True, exist_ok=True)
    hardware = {"cpu": "Abacus", "cores": 2, "accelerator": accelerator}
    runs = [run(1000, 3600), run(100, 400), run(10, 60)]
    result = {"environment": {"hardware": hardware}, "last": 20, "runs": runs}
    (docs / "results" / f"{name}.json").write_text(json.dumps(result))
    (docs / "scale.md").write_text(PAGE)


def rows(page: str) -> dict[str, list[str]]:
    found = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in found}


def test_a_million_follows_from_what_was_measured(generator: ModuleType, tmp_path: Path) -> None:
    put(tmp_path)
    assert generator.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "scale.md").read_text()
    found = rows(page)
    assert found["one such machine"] == ["1,000 people/hour", "1,000 hours"]
    assert found["core-hours"] == ["2 cores", "2,000 core-hours"]
    assert found["cost of training"] == ["$0.05 a core-hour", "$100"]
    assert found["a shard of 1,000"] == ["", "1,000 shards of 1.0 hours"]
    assert found["on 100 such machines"] == ["", "10.0 hours"]
    assert found["memory of each"] == ["peak, whatever the number", "2.5 GB"]
    assert found["adapters on disk"] == ["2.00 MB a person", "2.00 TB"]
    assert found["keeping them"] == ["$0.023 a GB and month", "$46 a month"]
    assert found["opening all as one store"] == ["0.10 ms a person", "100 seconds"]
    assert "1,000 tokens a person" in page and "in 60 minutes" in page
    assert (tmp_path / "images" / "scale.png").read_bytes()[:4] == b"\x89PNG"
    before, after = PAGE.split(generator.BEGIN)[0], PAGE.split(generator.END)[1]
    assert page.startswith(before) and page.endswith(after)


def test_a_gpu_is_counted_in_gpu_hours(generator: ModuleType, tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, "scale_cuda", accelerator="Difference Engine")
    assert generator.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "scale.md").read_text()
    assert "### On 2 cores of Abacus" in page and "### On Difference Engine" in page
    assert rows(page)["GPU-hours"] == ["1 GPU", "1,000 GPU-hours"]


def test_check_tells_whether_the_page_is_up_to_date(
    generator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path)
    docs = ["--docs", str(tmp_path)]
    assert generator.main([*docs, "--check"]) == 1
    assert generator.main(docs) == 0
    assert generator.main([*docs, "--check"]) == 0
    (tmp_path / "results" / "scale.json").write_text("{}")
    assert generator.main(docs) == 1
    (tmp_path / "scale.md").write_text("no marks")
    (tmp_path / "results" / "scale.json").unlink()
    assert generator.main(docs) == 1
    told = capsys.readouterr().err
    assert "run `make docs`" in told and "scale.json" in told and "before" in told


def test_the_committed_page_is_up_to_date(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def understood(line: str) -> dict[str, Any]:
    """The parameters that a command line of ours is parsed into."""
    main: Any = importlib.import_module("idiolect.cli.main").main
    _, verb, *arguments = shlex.split(line, comments=True)
    top = click.Context(main, **main.context_settings)
    command = main.get_command(top, verb)
    assert command is not None, f"no verb {verb}"
    context = click.Context(command, info_name=verb, parent=top)
    return command.make_context(verb, arguments, parent=context).params


def test_commands_on_the_page_are_understood() -> None:
    lines = [line for text in blocks("sh") for line in text.splitlines()]
    ours = [line for line in lines if line.startswith("idiolect ")]
    assert len(ours) >= 4
    for line in ours:
        understood(line)
    wrapped = [found for line in lines for found in re.findall(r'--wrap="([^"]+)"', line)]
    assert [understood(line)["store"] for line in wrapped] == [Path("raters")]


def shell(script: str, **variables: str) -> str:
    """The command line that a script ends in: ``idiolect`` is replaced by an echo of it."""
    told = 'idiolect() { printf "%q " idiolect "$@"; }\n' + script.replace(
        "exec idiolect", "idiolect"
    )
    done = subprocess.run(
        ["bash", "-c", told], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_indexed_job_runs_every_shard_once() -> None:
    (text,) = blocks("yaml")
    job, merging = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never")
    (container,) = pod["containers"]
    assert container["command"] == ["sh", "-c"]
    shards = {
        understood(shell(container["args"][0], JOB_COMPLETION_INDEX=str(index)))["shard"]
        for index in range(spec["completions"])
    }
    of = spec["completions"]
    assert {RunShard.parse(s) for s in shards} == {RunShard(n, of) for n in range(1, of + 1)}
    store = understood(shell(container["args"][0], JOB_COMPLETION_INDEX="0"))["store"]
    (merger,) = merging["spec"]["template"]["spec"]["containers"]
    assert understood(shlex.join(merger["command"]))["store"] == store
    for one in (container, merger):
        (mounted,) = one["volumeMounts"]
        assert str(store).startswith(mounted["mountPath"]) and mounted["name"] == "work"
    for each in (job, merging):
        assert [v["name"] for v in each["spec"]["template"]["spec"]["volumes"]] == ["work"]


def test_the_slurm_array_runs_every_shard_once() -> None:
    (script,) = blocks("bash")
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script)[0])
    shards = [
        understood(shell(script, SLURM_ARRAY_TASK_ID=str(task), SLURM_CPUS_PER_TASK="2"))["shard"]
        for task in (first, last)
    ]
    assert shards == [f"1/{last}", f"{last}/{last}"]
