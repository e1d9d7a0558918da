"""``docs/scale.md``: its figures match the measurements, and its manifests and commands work."""

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


def write_measurement(docs: Path, name: str = "scale", accelerator: str | None = None) -> None:
    """Write a made-up measurement, and the page to fill."""
    (docs / "results").mkdir(parents=True, exist_ok=True)
    hardware = {"cpu": "Abacus", "cores": 2, "accelerator": accelerator}
    runs = [run(1000, 3600), run(100, 400), run(10, 60)]
    result = {"environment": {"hardware": hardware}, "last": 20, "runs": runs}
    (docs / "results" / f"{name}.json").write_text(json.dumps(result))
    (docs / "scale.md").write_text(PAGE)


def table_rows(page: str) -> dict[str, list[str]]:
    found = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in found}


def test_generator_extrapolates_measurement_to_one_million_people(
    generator: ModuleType, tmp_path: Path
) -> None:
    write_measurement(tmp_path)
    assert generator.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "scale.md").read_text()
    found = table_rows(page)
    assert found["one such machine"] == ["1,000 people/hour", "1,000 hours"]
    assert found["core-hours"] == ["2 cores", "2,000 core-hours"]
    assert found["cost of training"] == ["$0.05 per core-hour", "$100"]
    assert found["a shard of 1,000"] == ["", "1,000 shards of 1.0 hours"]
    assert found["on 100 such machines"] == ["", "10.0 hours"]
    assert found["memory per machine"] == ["peak, for any number of people", "2.5 GB"]
    assert found["adapters on disk"] == ["2.00 MB per person", "2.00 TB"]
    assert found["storage cost"] == ["$0.023 per GB and month", "$46 per month"]
    assert found["opening all as one store"] == ["0.10 ms per person", "100 seconds"]
    assert "1,000 tokens per person" in page and "took 60 minutes" in page
    assert (tmp_path / "images" / "scale.png").read_bytes()[:4] == b"\x89PNG"
    before, after = PAGE.split(generator.BEGIN_MARK)[0], PAGE.split(generator.END_MARK)[1]
    assert page.startswith(before) and page.endswith(after)


def test_generator_counts_gpu_hours_for_a_gpu(generator: ModuleType, tmp_path: Path) -> None:
    write_measurement(tmp_path)
    write_measurement(tmp_path, "scale_cuda", accelerator="Difference Engine")
    assert generator.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "scale.md").read_text()
    assert "### On 2 cores of Abacus" in page and "### On Difference Engine" in page
    assert table_rows(page)["GPU-hours"] == ["1 GPU", "1,000 GPU-hours"]


def test_generator_check_fails_if_page_is_out_of_date(
    generator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_measurement(tmp_path)
    docs = ["--docs", str(tmp_path)]
    assert generator.main([*docs, "--check"]) == 1
    assert generator.main(docs) == 0
    assert generator.main([*docs, "--check"]) == 0
    (tmp_path / "results" / "scale.json").write_text("{}")
    assert generator.main(docs) == 1
    (tmp_path / "scale.md").write_text("no marks")
    (tmp_path / "results" / "scale.json").unlink()
    assert generator.main(docs) == 1
    errors = capsys.readouterr().err
    assert "run `make docs`" in errors and "scale.json" in errors and "before" in errors


def test_scale_page_is_up_to_date(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def parse_command(line: str) -> dict[str, Any]:
    """Return the parameters that an idiolect command line is parsed into."""
    main: Any = importlib.import_module("idiolect.cli.main").main
    _, name, *arguments = shlex.split(line, comments=True)
    top = click.Context(main, **main.context_settings)
    command = main.get_command(top, name)
    assert command is not None, f"no command {name}"
    context = click.Context(command, info_name=name, parent=top)
    return command.make_context(name, arguments, parent=context).params


def test_scale_page_commands_parse() -> None:
    lines = [line for text in code_blocks("sh") for line in text.splitlines()]
    ours = [line for line in lines if line.startswith("idiolect ")]
    assert len(ours) >= 4
    for line in ours:
        parse_command(line)
    wrapped = [found for line in lines for found in re.findall(r'--wrap="([^"]+)"', line)]
    assert [parse_command(line)["store"] for line in wrapped] == [Path("raters")]


def run_script(script: str, **variables: str) -> str:
    """Return the command line that a script ends with: ``idiolect`` is replaced by an echo."""
    echoing = 'idiolect() { printf "%q " idiolect "$@"; }\n' + script.replace(
        "exec idiolect", "idiolect"
    )
    done = subprocess.run(
        ["bash", "-c", echoing], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_indexed_job_runs_every_shard_once() -> None:
    (text,) = code_blocks("yaml")
    job, merging = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never")
    (container,) = pod["containers"]
    assert container["command"] == ["sh", "-c"]
    shards = {
        parse_command(run_script(container["args"][0], JOB_COMPLETION_INDEX=str(index)))["shard"]
        for index in range(spec["completions"])
    }
    of = spec["completions"]
    assert {RunShard.parse(s) for s in shards} == {RunShard(n, of) for n in range(1, of + 1)}
    store = parse_command(run_script(container["args"][0], JOB_COMPLETION_INDEX="0"))["store"]
    (merger,) = merging["spec"]["template"]["spec"]["containers"]
    assert parse_command(shlex.join(merger["command"]))["store"] == store
    for one in (container, merger):
        (mounted,) = one["volumeMounts"]
        assert str(store).startswith(mounted["mountPath"]) and mounted["name"] == "work"
    for each in (job, merging):
        assert [v["name"] for v in each["spec"]["template"]["spec"]["volumes"]] == ["work"]


def test_slurm_array_runs_every_shard_once() -> None:
    (script,) = code_blocks("bash")
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script)[0])
    shards = [
        parse_command(run_script(script, SLURM_ARRAY_TASK_ID=str(task), SLURM_CPUS_PER_TASK="2"))[
            "shard"
        ]
        for task in (first, last)
    ]
    assert shards == [f"1/{last}", f"{last}/{last}"]
