"""Work that shows no progress of its own says what it is, where it takes long."""

import time

from intriguing.basics.process import patience
from intriguing.basics.process.patience import telling


def test_what_is_quick_is_not_mentioned(caplog):
    with caplog.at_level("INFO"), telling("writing the page"):
        pass
    assert caplog.text == ""


def test_what_takes_long_is_told_again_and_again(caplog, monkeypatch):
    monkeypatch.setattr(patience, "AFTER", 0.01)
    monkeypatch.setattr(patience, "AGAIN", 0.01)
    with caplog.at_level("INFO"), telling("writing the page"):
        until = time.monotonic() + 60
        while len(caplog.records) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    told = len(caplog.records)
    assert told >= 3
    assert all(record.getMessage().startswith("writing the page: ") for record in caplog.records)
    time.sleep(0.05)
    assert len(caplog.records) == told


def test_an_error_goes_through(caplog):
    try:
        with telling("writing the page"):
            raise ValueError("full")
    except ValueError as error:
        assert str(error) == "full"
