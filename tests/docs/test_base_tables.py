"""The tables of ``docs/bases.md`` are those that ``docs/build/base_tables.py`` writes."""

from __future__ import annotations

import re

from docs.build import base_tables
from idiolect.models.ways import WAY_COSTS


def test_base_tables_are_up_to_date() -> None:
    assert base_tables.main(["--check"]) == 0


def test_build_memory_table_has_sizes_that_its_titles_name() -> None:
    """bf16 weights take two bytes per parameter, nf4 weights less than one."""
    lines = base_tables.build_memory_table().splitlines()[2:]
    assert len(lines) == 2 * len(base_tables.SHAPES)
    for line in lines:
        title, precision, weights = re.split(r" *\| *", line)[1:4]
        number, unit = weights.split()
        each = float(number) / (1 if unit == "GB" else 1000) / float(title.split()[0])
        low, high = (1.9, 2.7) if precision == "bf16" else (0.5, 1.2)
        assert low < each < high, line


def test_build_ways_table_lists_every_way() -> None:
    assert all(f"| {way} |" in base_tables.build_ways_table() for way in WAY_COSTS)
