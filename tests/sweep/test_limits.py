"""Specs that are too large, too deep or badly named are refused in a sentence."""

import os
import time

import pytest

from intriguing.errors import SpecError, UnknownNameError
from intriguing.sweep.limits import LARGEST_SPEC
from intriguing.sweep.spec import load_spec


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/x", "a\\b", "..", ".x", "a\0b", "\x1b[31mred\r", "nul", "con.x", " x", "ü" * 150]
)
def test_a_run_s_name_is_one_folder(name):
    with pytest.raises(SpecError, match=r"name: .* Write another `name`"):
        load_spec({"name": name})


@pytest.mark.parametrize("name", ["my run 2", "ünïcode", "v1.0", "a[b]", "run's"])
def test_other_names_are_taken(name):
    assert load_spec({"name": name}).name == name


@pytest.mark.parametrize("name", ["../specs/demo", "specs/demo", "../../x", "/etc/passwd\0", "dem\x1bo", ""])
def test_a_spec_is_looked_up_among_those_of_the_package_alone(name):
    with pytest.raises((UnknownNameError, SpecError)):
        load_spec(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a = " + "{a=" * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
        ("a." * 30 + "a = 1", "nested more than 20 levels"),
        ("a." * 100_000 + "a = 1", "a key of more than 40 parts"),
        ("x = {" + '"a" . ' * 40_000 + "a = 3}", "a key of more than 40 parts"),
        ("seed = " + "9" * 5_000, "cannot be read"),
        ("seed = 0x" + "f" * 50_000, "a whole number of 200000 bits"),
        ("seed = 9223372036854775808", "64 bits and a sign"),
        ("seed = 2026-01-01", "is a date or a time"),
        ("[models]\n" + "\n".join(f"m{i} = {{}}" for i in range(1_001)), "has 1,001 models; at most 1,000"),
        ("a = [" + "1," * 110_000 + "]", "more than 100,000 values"),
        ("#" * (LARGEST_SPEC + 1), "more than the 250,000 that are read"),
    ],
)
def test_a_spec_that_is_too_large_or_too_deep_is_refused_in_a_sentence(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(text)
    began = time.process_time()
    with pytest.raises(SpecError, match=message):
        load_spec(tmp_path / "x.toml")
    assert time.process_time() - began < 20


def test_a_pipe_in_the_place_of_a_spec_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(SpecError, match="no regular file"):
        load_spec(tmp_path / "x.toml")


def test_more_tasks_than_fit_in_memory_are_refused(monkeypatch, tmp_path):
    from intriguing.sweep import prepare
    from tests.sweep.small import SMALL

    monkeypatch.setattr("intriguing.sweep.plan.MOST_TASKS", 20)
    with pytest.raises(SpecError, match="more than 20 tasks"):
        prepare(SMALL, tmp_path)


def test_a_wrong_spec_that_begins_with_many_empty_lines_is_told_at_once(tmp_path):
    """To see that it is no YAML took twice as long for each line: forty took days."""
    path = tmp_path / "s.toml"
    path.write_text("\n" * 5_000 + "# mine\n\n" * 1_000 + "= 1\n")
    with pytest.raises(SpecError, match="The line is: = 1"):
        load_spec(path)


def test_a_link_to_nothing_is_no_pipe(tmp_path):
    (tmp_path / "spec").symlink_to(tmp_path / "gone")
    with pytest.raises(SpecError, match=r"spec is a link to what is not there \(nothing lies there\)"):
        load_spec(tmp_path / "spec")


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("s.json", '{"name": "a"}', "It looks like JSON, and a spec is TOML. Write"),
        ("s.toml", '\n {"name": "a"}', "It looks like JSON"),
        ("s.yaml", "name: a", "It looks like YAML"),
        ("s.toml", "# mine\n---\nname: a\n", "It looks like YAML"),
        (
            "s.toml",
            "name = 'a'\n[models.m]\narchitecture = cnn  # mine\n",
            r'cnn  # mine \(text stands in quotes: "cnn"\)$',
        ),
        ("s.toml", "[models.m]\ntrain = False\n", r"The line is: train = False \(write false\)$"),
        ("s.toml", "name = “a”", "its quotes are typographic: write straight ones"),
        ("s.toml", "name = 'a', seed = 1\n", "at line 1, column 11.* The line is: name = 'a', seed = 1$"),
    ],
)
def test_a_spec_in_another_language_is_told_as_such_and_a_wrong_line_is_shown(file, text, told, tmp_path):
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=told):
        load_spec(tmp_path / file)


def test_a_folder_or_a_pipe_in_place_of_a_spec_is_told_as_such(tmp_path):
    (tmp_path / "dir.toml").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match=r"dir.toml cannot be read: Is a directory\.$"):
        load_spec(tmp_path / "dir.toml")
    with pytest.raises(SpecError, match="is a folder, and a spec is a file .*intriguing status .* continues a run"):
        load_spec(tmp_path)
    with pytest.raises(SpecError, match="pipe is a pipe or a device, and a spec is a file"):
        load_spec(tmp_path / "pipe")
