"""What a library call shows of its progress, and where."""

import io
import logging
import sys
import types
from dataclasses import replace
from itertools import pairwise

import pytest

from intriguing.engine.progress.progress import Count, Snapshot
from intriguing.engine.progress.shown import LogLines, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


def snapshot(done):
    return Snapshot(done, 10, 1, 0, {"tasks": Count(done, 10)}, None)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Log lines of level INFO are not shown, as in a notebook that has not set up logging."""
    monkeypatch.setattr(logging.getLogger("intriguing"), "level", logging.WARNING)
    logging.getLogger("intriguing.engine.progress.shown")._cache.clear()


def lines(progress, stream):
    with shown(progress, stream) as listen:
        for done in (1, 2, 10):
            listen(snapshot(done))
    return stream.getvalue().replace("\r", "\n").split("\n")


def test_a_terminal_gets_one_line_that_is_written_over():
    told = lines(None, Terminal())
    assert told[1].startswith("1/10 tasks")
    assert told[-2].startswith("10/10 tasks, 0 failed")
    assert told[-1] == ""


def test_a_line_that_is_written_over_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    told = lines(None, Terminal())
    assert {len(line) for line in told} <= {0, 19}
    assert told[1] == "1/10 tasks, 0 fail…"


def test_a_notebook_gets_it_too():
    class Stream(io.StringIO):
        __module__ = "ipykernel.iostream"

    assert lines(None, Stream())[-2].startswith("10/10 tasks")


def test_a_notebook_with_a_display_gets_a_bar_that_is_renewed(monkeypatch):
    class Stream(io.StringIO):
        __module__ = "ipykernel.iostream"

    drawn = []

    class Display(types.ModuleType):
        def display(self, what, display_id):
            assert display_id and not drawn
            self.update(what)
            return self

        def update(self, what):
            drawn.append((what._repr_html_(), repr(what)))

    monkeypatch.setitem(sys.modules, "IPython.display", Display("IPython.display"))
    assert lines(None, stream := Stream()) == [""] and stream.getvalue() == ""
    assert drawn[0][0].startswith('<progress value="1" max="10"></progress>')
    assert drawn[-1][0].startswith('<progress value="10" max="10"></progress>')
    assert drawn[-1][1].startswith("10/10 tasks")
    with shown(True, Stream()) as listen:
        drawn.clear()
        listen(Snapshot(1, 10, 1, 0, {"<b>": Count(1, 10)}, None, busy=(("a<i>", "", 0.0),)))
    assert "&lt;b&gt;" in drawn[0][0] and "<div>at work: a&lt;i&gt;</div>" in drawn[0][0]


def test_a_file_gets_nothing_unless_it_is_asked_for():
    assert lines(None, io.StringIO()) == [""]
    assert lines(True, io.StringIO())[-2].startswith("10/10 tasks")
    assert lines(False, Terminal()) == [""]


def test_log_lines_that_are_shown_are_enough(caplog):
    with caplog.at_level(logging.INFO, logger="intriguing"):
        assert lines(None, Terminal()) == [""]
    assert "10/10 tasks" in caplog.text


def test_a_run_that_stops_leaves_its_last_line():
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), shown(True, stream) as listen:
        listen(snapshot(3))
        raise KeyboardInterrupt
    assert stream.getvalue().endswith("\n")


def test_log_lines_of_a_long_run_are_rarer(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr("intriguing.engine.progress.shown.time.monotonic", lambda: now[0])
    listen = LogLines()
    times = []
    with caplog.at_level(logging.INFO, logger="intriguing"):
        for second in range(10 * 3600):
            now[0] = float(second)
            before = len(caplog.records)
            listen(snapshot(1))
            times += [second] * (len(caplog.records) - before)
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[0] == 5
    assert pauses[-1] == 300
    assert len(times) < 400


def test_a_log_line_names_what_has_been_at_work_for_long(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr("intriguing.engine.progress.shown.time.monotonic", lambda: now[0])
    listen = LogLines()
    with caplog.at_level(logging.INFO, logger="intriguing"):
        for seconds in (6.0, 65.0):
            now[0] += seconds
            listen(replace(snapshot(1), busy=(("model/m/0", "here", seconds - 2.0),)))
    first, second = (record.getMessage() for record in caplog.records)
    assert "at work" not in first and second.endswith("0 failed; at work: model/m/0 (1 min 03 s)")
