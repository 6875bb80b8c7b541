"""Numbers with their sign, for people: with the minus sign, and nothing that is rounded to zero below it."""


def with_minus(text: str) -> str:
    """The text of a number with the minus sign (U+2212) in place of its hyphen."""
    return text.replace("-", "\u2212")


def signed(value: float, form: str = ".3g") -> str:
    """A number with its sign in the `form` of Python's `format`; what is rounded to zero has a plus: "+0.0"."""
    text = format(value, f"+{form}")
    return with_minus(text) if float(text) else text.replace("-", "+")
