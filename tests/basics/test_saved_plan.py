"""The line that continues a run, as a run folder has it: shown only if it is one."""

import pytest

from intriguing.basics.folders.saved_plan import checked_plan, safe_command


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


@pytest.mark.parametrize("models", [3, [3], [{"name": []}], [{"name": {}}], {"a": 3}])
def test_models_of_a_foreign_plan_that_have_no_names_are_refused(models):
    with pytest.raises(ValueError, match=r"spec\.models"):
        checked_plan({"spec": {"models": models}})


@pytest.mark.parametrize("publish", [3, [], {"a": 3}, {"a": {"b": 3}}])
def test_tables_of_a_foreign_plan_are_left_out_unless_they_are_named(publish):
    assert checked_plan({"publish": publish}).publish == {}
    assert checked_plan({"publish": {"a": {"b": "c"}}}).publish == {"a": {"b": "c"}}
