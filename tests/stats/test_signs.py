"""Numbers with their sign."""

import pytest

from intriguing.stats.signs import signed, with_minus


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (0.0396, ".3g", "+0.0396"),
        (-0.0299, ".3g", "\u22120.0299"),
        (-1.5e-7, ".3g", "\u22121.5e\u221207"),
        (-0.04, ".1f", "+0.0"),
        (0.0, ".2f", "+0.00"),
        (-float("inf"), ".1f", "\u2212inf"),
    ],
)
def test_a_number_has_its_sign_and_what_is_rounded_to_zero_a_plus(value, form, shown):
    assert signed(value, form) == shown


def test_a_hyphen_becomes_the_minus_sign():
    assert with_minus("-0.5 against -0.25") == "\u22120.5 against \u22120.25"
