"""A signal that comes while DuckDB is at work stops what asked, as it does everywhere else."""

import signal

import duckdb
import pytest

from intriguing.results.queries import FileQueries, answer, heard_in_queries

LONG = "select sum(range) from range(5000000000)"
"""Seconds of work. With several threads DuckDB often tells of a signal only when such a query has ended."""


@pytest.fixture
def interrupted_soon():
    """A signal whose handler raises `KeyboardInterrupt`, as the command's own for SIGTERM does."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_in_a_query_of_our_own_is_an_interrupt(tmp_path, interrupted_soon):
    """DuckDB raised "Query interrupted", and a run that was stopped while it wrote its page ended with 1."""
    queries = FileQueries(str(tmp_path))
    assert queries.answer({}, "select 1 as one", None)["one"].tolist() == [1]
    interrupted_soon()
    with pytest.raises(KeyboardInterrupt):
        queries.answer({}, LONG, None)
    assert queries.answer({}, "select 2 as two", None)["two"].tolist() == [2]


def test_a_signal_in_a_query_of_the_user_s_is_an_interrupt(interrupted_soon):
    with duckdb.connect() as connection:
        interrupted_soon()
        with pytest.raises(KeyboardInterrupt), heard_in_queries():
            answer(connection, LONG, None)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="of its own"), heard_in_queries():
        raise RuntimeError("of its own")
