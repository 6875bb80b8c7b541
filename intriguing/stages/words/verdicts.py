"""What a run says about word vectors, in a sentence per corpus."""

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted, least_rotations, significant


def verdicts(context: Context) -> list[Verdict]:
    """Per corpus: whether single dimensions of the word vectors mean more than rotations, by the pool where there is
    one.
    """
    tests = [t for t in context.run.table("word_tests", control="trained").to_pylist() if t["effect"] is not None]
    said = []
    for key, rows in context.grouped(tests, "corpus"):
        pooled = [row for row in rows if row["seed"] < 0]
        said.append(_verdict(key["corpus"], pooled or rows))
    return said


def _verdict(corpus: str, tests: list[Row]) -> Verdict:
    different = [test for test in tests if significant(test["p_holm"])]
    largest = max(different or tests, key=lambda test: abs(test["effect"]))
    low, high, sd = largest["low"], largest["high"], largest["null_sd"]
    known = low is not None and high is not None and sd
    if different:
        sentence = (
            f"Single dimensions of the word vectors of {corpus} differ from random directions, "
            f"in {len(different)} of {len(tests)} tests."
        )
        refuted = "scores of the dimensions inside the band of the rotations, in every test"
    elif tests[0]["rotations"] < (needed := least_rotations(len(tests))):
        sentence = (
            f"Undecided whether single dimensions of the word vectors of {corpus} mean more than random directions, or "
            f"less: {counted(tests[0]['rotations'], 'rotation')} cannot show it after "
            f"Holm's correction over {counted(len(tests), 'test')}."
        )
        refuted = (
            f"scores of the dimensions inside the band of the rotations; that they lie beyond takes {needed:,} of them"
        )
    else:
        sentence = (
            f"No evidence that single dimensions of the word vectors of {corpus} mean more than random directions, "
            f"or less, in any of {len(tests)} tests."
        )
        refuted = "one test that tells the dimensions from rotations after Holm's correction"
    return Verdict(
        sentence,
        f"largest effect, in standard deviations of the rotations ({largest['metric']}, {largest['condition']})",
        ("+" if largest["effect"] > 0 else "") + number(largest["effect"], 2),
        f"95 % interval over words {number(low / sd, 2)} to {number(high / sd, 2)}" if known else "",
        "words",
        refuted,
    )
