"""Each longer question to the API is one frozen value, which command line and Python share."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from idiolect import api
from idiolect.errors import UsageError

FUNCTIONS = [
    name for name in api.__all__ if name.islower() and inspect.isfunction(getattr(api, name))
]
REQUESTS = [name for name in api.__all__ if name.endswith("Request")]


def personalize(**fields: object) -> api.PersonalizeRequest:
    return api.PersonalizeRequest(data=Path("data"), store=Path("store"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_one_request_or_few_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(api, name)).parameters
    assert set(parameters) <= {"request", "listener"} or len(parameters) <= 4


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_frozen_and_take_fields_by_name(name: str) -> None:
    kind = getattr(api, name)
    with pytest.raises(TypeError, match="positional"):
        kind(Path("data"))
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__dataclass_params__.frozen


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shards": 2}, "shards and workers are for a run on Ray"),
        ({"workers": 2}, "shards and workers are for a run on Ray"),
        ({"shard": "1/2", "ray": "local"}, "one shard or all of them"),
        ({"start": Path("mean"), "pieces": Path("recipes")}, "one adapter or from pieces"),
    ],
)
def test_personalize_request_refuses_fields_that_exclude_each_other(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        personalize(**fields)


def test_personalize_request_takes_shards_with_ray() -> None:
    assert personalize(ray="local", shards=9, workers=2).shards == 9
