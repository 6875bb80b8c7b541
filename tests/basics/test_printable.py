"""What is printed commands no terminal, and plain text is left as it is."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from intriguing.basics.text.printable import filled, printable, width_of


@given(st.text(), st.booleans())
def test_what_is_printed_commands_no_terminal(text, lines):
    shown = printable(text, lines)
    assert {unicodedata.category(c) for c in set(shown) - set("\n\t\u200c\u200d")}.isdisjoint(
        ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    assert not {"\x1b", "\r", "\x07", "\x9b", "\u202e", "\u2066"} & set(shown)
    assert lines or not {"\n", "\t"} & set(shown)
    shown.encode()


def test_wide_characters_take_two_columns_and_marks_none():
    assert [width_of(text) for text in ("abc", "模型", "e\u0301", "ｱ", "")] == [3, 4, 1, 1, 0]
    assert filled("模型", 6) == "模型  " and filled("模", 4, right=True) == "  模" and filled("abc", 2) == "abc"


def test_plain_text_is_left_as_it_is():
    assert printable("Ünïcode – 模型 007 [bold]") == "Ünïcode – 模型 007 [bold]"
    assert printable("a\nb\x1b[1m", lines=True) == "a\nb\\x1b[1m"
