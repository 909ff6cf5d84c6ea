"""Programs that tests need: missing ones skip a test, and fail it where CI is set."""

import pytest
from real_readers import need


@pytest.mark.parametrize(
    "ci, outcome", ((None, pytest.skip.Exception), ("1", pytest.fail.Exception))
)
def test_a_missing_reader_skips_and_in_ci_fails_with_what_to_install(monkeypatch, ci, outcome):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="vcd2fst is missing: install gtkwave; no_such_module is"):
        need("vcd2fst", modules=("no_such_module",))


def test_what_is_there_is_not_missing(monkeypatch):
    monkeypatch.setenv("CI", "1")
    need("sh", modules=("json",))
