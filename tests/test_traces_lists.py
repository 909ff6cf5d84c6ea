"""Lists as they are put together: what is stored once, and where columns begin."""

import numpy as np
import pytest

from firemesh.traces.lists import Lists, Rule
from firemesh.traces.schema import INHERITED, OWN


def made():
    """Return a segment's lists and the parts that they append, by table."""
    parts = {}
    return Lists(3, 10, lambda name, rows: parts.setdefault(name, []).append(rows)), parts


def test_lists_are_numbered_from_those_of_the_segments_before():
    lists, parts = made()
    assert lists.add(0, [0], 2, Rule(), {}) == 10
    assert lists.add_each(1, np.array([1, 2]), np.array([1, 3]), Rule(), {}).tolist() == [11, 12]
    assert lists.add(2, [1, 2], 2, Rule(), {}, leader=10) == 13
    records = np.concatenate(parts["lists"])
    assert records["segment"].tolist() == [3] * 4
    assert records["leader"].tolist() == [-1, -1, -1, 10]
    assert records["members"].tolist() == [1, 1, 1, 2]
    assert records["rows"].tolist() == [2, 1, 3, 2]


def test_equal_slacks_are_stored_once_and_zeros_not_at_all():
    lists, parts = made()
    slack = np.array([[1, 2], [0, 0], [3, 4], [1, 2], [3, 4]])
    lists.add(0, range(5), 2, Rule(), {}, slack)
    assert np.concatenate(parts["members"])["slack"].tolist() == [0, -1, 1, 0, 1]
    assert np.concatenate(parts["columns/slack"]).tolist() == [1, 2, 3, 4]


def test_a_column_is_its_own_its_leaders_or_a_number():
    lists, parts = made()
    columns = {"base": np.array([100, 108, 90]), "pattern": 7, "run": None}
    lists.add(0, [0], 3, Rule(), columns)
    (record,) = parts["lists"][0]
    assert (record["base"], record["pattern"], record["run"]) == (OWN, -2 - 7, INHERITED)
    assert parts["columns/base"][0].tolist() == [100, 8, -18]
    assert set(parts) == {"lists", "members", "columns/base"}


def test_differences_begin_anew_with_each_list():
    lists, parts = made()
    base = np.array([5, 6, 50, 70, 60])
    lists.add_each(0, np.array([1, 2]), np.array([2, 3]), Rule(), {"base": base})
    assert parts["columns/base"][0].tolist() == [5, 1, 50, 20, -10]


def test_slack_must_have_a_row_for_each_member():
    lists, _ = made()
    with pytest.raises(ValueError, match=r"slack: must be 2 x 3, got \(3, 3\)"):
        lists.add(0, [1, 2], 3, Rule(), {}, np.ones((3, 3)))


def test_a_number_below_0_for_all_rows_is_stored_row_by_row():
    lists, parts = made()
    lists.add(0, [0], 3, Rule(walks=1), {"run": -1})
    lists.add_each(0, np.array([1, 2]), np.array([1, 2]), Rule(), {"base": -2, "pattern": 4})
    assert np.concatenate(parts["lists"])["run"].tolist() == [OWN, INHERITED, INHERITED]
    assert parts["columns/run"][0].tolist() == [-1, 0, 0]
    assert parts["columns/base"][0].tolist() == [-2, -2, 0]


def test_spans_and_masks_are_named_in_the_lists():
    lists, parts = made()
    lists.add(0, [0], 2, Rule(walks=2), {"span": np.array([5, 70])})
    rule = Rule(walks=3, mask_a=np.array([4, 6]), mask_b=5, empty=1)
    rows, windows = np.array([1, 2]), {"window_a": np.array([7, 9, 10]), "windows_b": 3}
    lists.add_each(0, np.array([1, 2]), rows, rule, windows)
    records = np.concatenate(parts["lists"])
    assert records["walks"].tolist() == [2, 3, 3]
    assert records["mask_a"].tolist() == [-1, 4, 6] and records["mask_b"].tolist() == [-1, 5, 5]
    assert records["empty"].tolist() == [0, 1, 1]
    assert parts["columns/span"][0].tolist() == [5, 70]
    assert parts["columns/window_a"][0].tolist() == [7, 9, 1]
    assert records["windows_b"].tolist() == [INHERITED, -2 - 3, -2 - 3]


def test_a_column_that_does_not_exist_is_refused():
    lists, _ = made()
    with pytest.raises(ValueError, match="columns: must be of of, pattern, run, .*, got windows"):
        lists.add(0, [1], 3, Rule(), {"windows": 3})
