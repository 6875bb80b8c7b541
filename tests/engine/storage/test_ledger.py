"""The ledger: what a driver keeps of finished tasks is what they gave, packed or not."""

import pytest

from intriguing.engine.storage.ledger import Ledger, fits
from intriguing.engine.storage.store import Record, Stored

OUTPUTS = {"rows": Stored("rows.parquet", 1 << 40, "ab" * 32, 7), "weights": Stored("weights.bin", 3, "cd" * 32, -1)}
ONE = Record("one", "x:y", OUTPUTS, attempts=2, worker="w", device="cpu", seconds=1.5, peak_memory=5, shrunk={"b": 4})


def test_a_record_comes_back_as_it_was_but_for_inputs_and_versions():
    ledger = Ledger({"one": Record(**{**vars(ONE), "inputs": {"f/rows": "ef" * 32}, "versions": {"torch": "2"}})})
    assert ledger["one"] == ONE
    assert [ledger.output("one", name) for name in ("rows", "weights", "other")] == [*OUTPUTS.values(), None]
    assert ledger.output("two", "rows") is None
    assert (ledger.seconds("one"), ledger.how("one")) == (1.5, ("x:y", 2, "w", "cpu", 1.5, 5))
    assert fits(ledger.row("one")) and not fits((ledger.row("one")[0], ledger.row("one")[1][:-1]))


def test_what_was_forgotten_leaves_nothing_to_a_later_record_of_the_task():
    ledger = Ledger({"one": ONE})
    row = ledger.row("one")
    del ledger["one"]
    assert "one" not in ledger and len(ledger) == 0
    with pytest.raises(KeyError):
        ledger["one"]
    ledger.adopt("one", row)
    assert ledger["one"].shrunk == {}
    assert ledger["one"].outputs == OUTPUTS


def test_a_copy_of_a_ledger_is_a_ledger_of_its_own():
    ledger = Ledger({"one": ONE})
    copy = Ledger(ledger)
    del ledger["one"]
    assert copy["one"] == ONE
