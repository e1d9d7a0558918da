from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idiolect.adapters.arithmetic.directions import AdapterBasis, compute_basis, flatten_b
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.private_basis import SHARED_LORA, make_basis, make_donors
from support.random_adapters import random_adapter

pytestmark = pytest.mark.finding("private-training")


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


def test_compute_basis_equals_principal_components(base: Base) -> None:
    donors = make_donors(base, 7)
    basis = compute_basis(donors, 3)
    rows = torch.stack([flatten_b(one) for one in donors])
    assert torch.allclose(flatten_b(basis.mean), rows.mean(dim=0))
    # The definition: right singular vectors of the centered rows, scaled to the deviation.
    _, singular, right = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False)
    for n, direction in enumerate(basis.directions.double()):
        expected = right[n] * singular[n] / 6**0.5
        error = min(float((direction - s * expected).norm()) for s in (1, -1))
        assert error < 1e-5 * float(expected.norm())


def test_compute_basis_gives_donors_coordinates_of_variance_one(base: Base) -> None:
    donors = make_donors(base, 8)
    basis = compute_basis(donors, 4)
    found = torch.stack([basis.project(one) for one in donors])
    assert torch.allclose(found.mean(dim=0), torch.zeros(4, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(found.var(dim=0), torch.ones(4, dtype=torch.float64), atol=1e-5)


def test_basis_moves_to_coordinates_and_back(base: Base) -> None:
    basis = make_basis(base, 3)
    z = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
    moved = basis.move_to(z).check_matches_base(base, SHARED_LORA)
    assert moved.config.shared_a
    assert torch.allclose(basis.project(moved), z, atol=1e-5)
    at_mean = basis.move_to(torch.zeros(3, dtype=torch.float64))
    assert at_mean.content_hash() == basis.mean.content_hash()


def test_compute_basis_rejects_own_a_and_too_few_people(base: Base) -> None:
    config = replace(SHARED_LORA, shared_a=False)
    with pytest.raises(UsageError, match="share one A"):
        compute_basis([random_adapter(base, config, seed=s) for s in range(6)], 2)
    # Seed the draw by the person: each has an A of their own.
    with pytest.raises(UsageError, match="4 of 6 people"):
        compute_basis(make_donors(base, 6), 4)


def test_basis_rejects_directions_that_do_not_fit(base: Base) -> None:
    basis = make_basis(base, 2)
    with pytest.raises(MismatchError, match="do not fit"):
        AdapterBasis(mean=basis.mean, directions=basis.directions[:, 1:])
    with pytest.raises(IntegrityError, match="not finite"):
        AdapterBasis(mean=basis.mean, directions=basis.directions * float("nan"))
