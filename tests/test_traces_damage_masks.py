"""Damaged traces of spans and masks: right numbers, or one sentence; never a crash or a hang."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_traces_damage import (
    BYTE_SEEDS,
    EDITED,
    FIELD_SEEDS,
    apart,
    change,
    check_survey,
    needs_fork,
    notice,
    survey,
    table,
    through_the_api,
)
from test_traces_masks_layer import small

from firemesh.traces.schema import TABLES

FULL = (
    "lists", "members", "patterns/items", "columns/slack", "columns/span", "columns/window_a",
    "columns/window_b", "masks/sets", "masks/words", "masks/address", "masks/section",
)  # fmt: skip
"""Tables that have rows in the trace of these tests."""
FIELDS = [
    (name, field)
    for name in ("masks/sets", "lists", *(name for name in FULL if name.startswith("columns")))
    for field, _ in TABLES[name]
] + [("patterns/first", ""), ("patterns/period", ""), ("masks/words", "")]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Path of a sound trace, made once."""
    path = tmp_path_factory.mktemp("good") / "good.h5"
    small(path)
    return path


@pytest.fixture(scope="module")
def wanted(good):
    """What the sound trace counts."""
    counts, problems, refusals = through_the_api(good)
    assert (problems, refusals) == ([], [])
    return counts


@pytest.fixture
def copied(good, tmp_path):
    """A copy of the sound trace, to be damaged."""
    return Path(shutil.copy(good, tmp_path / "run.h5"))


@pytest.mark.parametrize("name", FULL)
def test_a_table_that_lost_its_last_row_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        file[name].resize(len(file[name]) - 1, axis=0)
    notice(copied, wanted)


@pytest.mark.parametrize("where", (0.0, 0.3, 0.99))
@pytest.mark.parametrize("name", FULL)
def test_a_flipped_byte_in_a_stored_chunk_is_noticed(copied, wanted, name, where):
    with h5py.File(copied) as file:
        dataset = file[name]
        chunk = dataset.id.get_chunk_info(int(where * dataset.id.get_num_chunks()))
    data = bytearray(copied.read_bytes())
    data[chunk.byte_offset + int(where * chunk.size)] ^= 0x40
    copied.write_bytes(data)
    assert any(name in told for told in notice(copied, wanted))


@pytest.mark.parametrize("name", FULL)
def test_a_table_without_its_chunks_is_noticed_and_takes_no_memory(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        dtype, n = file[name].dtype, len(file[name])
        del file[name]
        file.create_dataset(name, (n,), dtype, maxshape=(None,), chunks=(1024,))
    notice(copied, wanted)


@pytest.mark.parametrize("name, field", FIELDS)
def test_extreme_values_crash_no_reader_and_do_not_hang_it(good, tmp_path, name, field):
    """Each in a process of its own, which is killed when it takes too long."""
    kind, path = np.iinfo(dict(TABLES[name])[field]), tmp_path / "run.h5"
    for value in (kind.max, kind.min, kind.max // 2 + 1, 0, 255 % kind.max):
        for row in (-1, slice(None)):
            shutil.copy(good, path)
            change(path, name, row, field, value)
            problems = apart(path)
            is_same = np.array_equal(table(path, name), table(good, name))
            assert is_same != bool(problems), (value, row)
            assert not any("Traceback" in problem or "\n" in problem for problem in problems)


@needs_fork
def test_random_damage_to_bytes_is_refused_noticed_or_harmless(good, tmp_path):
    check_survey(survey(good, tmp_path, BYTE_SEEDS[::20]), {"refused", "problems", "same"})


@needs_fork
def test_random_edits_of_values_are_refused_noticed_or_harmless(good, tmp_path):
    check_survey(survey(good, tmp_path, FIELD_SEEDS[::10]), EDITED)


@needs_fork
@pytest.mark.slow
def test_all_random_damage_is_refused_noticed_or_harmless(good, tmp_path):
    check_survey(survey(good, tmp_path, BYTE_SEEDS), {"refused", "problems", "same"})
    check_survey(survey(good, tmp_path, FIELD_SEEDS), EDITED)
