"""The rules of ``idiolect.api``: request classes, signatures, and docstrings."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from idiolect import api, errors
from idiolect.errors import UsageError

FUNCTIONS = [
    name for name in api.__all__ if name.islower() and inspect.isfunction(getattr(api, name))
]
REQUESTS = [name for name in api.__all__ if name.endswith("Request")]
SECTIONS = ("Args", "Returns", "Raises", "Example")
"""The sections that each exported function's docstring has, in this order (Google style)."""


def make_personalize_request(**fields: object) -> api.PersonalizeRequest:
    return api.PersonalizeRequest(data=Path("data"), store=Path("store"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_api_functions_take_one_request_or_few_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(api, name)).parameters
    assert set(parameters) <= {"request", "listener"} or len(parameters) <= 4


def split_sections(docstring: str) -> tuple[str, Mapping[str, str]]:
    """Split a docstring into the text before its sections, and its sections by name."""
    parts = re.split(r"^(\w+):$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def list_field_docs(kind: type) -> Mapping[str, str]:
    """The string after each annotated field of a class, by field name; empty if there is none."""
    (node,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in itertools.pairwise([*node.body, ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            docs[statement.target.id] = str(text.value) if isinstance(text, ast.Constant) else ""
    return docs


def test_api_lower_case_exports_are_functions() -> None:
    assert [name for name in api.__all__ if name.islower()] == FUNCTIONS != []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_api_function_docstrings_have_all_sections(name: str) -> None:
    function = getattr(api, name)
    summary, sections = split_sections(function.__doc__ or "")
    assert summary.splitlines()[0].endswith(".") and tuple(sections) == SECTIONS
    # Every parameter is documented, and nothing else.
    parameters = list(inspect.signature(function).parameters)
    assert re.findall(r"^    (\w+): \S", sections["Args"], re.MULTILINE) == parameters
    # The errors belong to the package's tree, and each says when it is raised.
    raised = re.findall(r"^    (\w+): If \S", sections["Raises"], re.MULTILINE)
    assert raised and len(raised) == len(re.findall(r"^    \S", sections["Raises"], re.MULTILINE))
    assert all(issubclass(getattr(errors, error), errors.IdiolectError) for error in raised)
    # The example is one that Python can parse, and it calls the function.
    (example, *_) = doctest.DocTestParser().get_examples(function.__doc__ or "")
    nodes = ast.walk(ast.parse(example.source))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    assert name in [call.id for call in calls if isinstance(call, ast.Name)]


@pytest.mark.parametrize("name", REQUESTS)
def test_request_classes_document_each_field(name: str) -> None:
    kind = getattr(api, name)
    docs = list_field_docs(kind)
    assert set(docs) == {field.name for field in dataclasses.fields(kind)}
    assert [field for field, text in docs.items() if not text.strip().endswith(".")] == []
    assert (kind.__doc__ or "").strip() and not (kind.__doc__ or "").startswith(f"{name}(")


@pytest.mark.parametrize("name", REQUESTS)
def test_request_classes_are_frozen_with_keyword_only_fields(name: str) -> None:
    kind = getattr(api, name)
    with pytest.raises(TypeError, match="positional"):
        kind(Path("data"))
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__dataclass_params__.frozen


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shards": 2}, "shards and workers need ray"),
        ({"workers": 2}, "shards and workers need ray"),
        ({"shard": "1/2", "ray": "local"}, "shard and ray exclude each other"),
        (
            {"start": Path("mean"), "pieces": Path("recipes")},
            "start from one adapter, or from pieces",
        ),
    ],
)
def test_personalize_request_refuses_fields_that_exclude_each_other(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_personalize_request(**fields)


def test_personalize_request_takes_shards_with_ray() -> None:
    assert make_personalize_request(ray="local", shards=9, workers=2).shards == 9
