"""What the run answers about stability: one sentence per grade, of the rule that says most."""

from intriguing.report.parts import Context
from intriguing.stages.stability.verdicts import verdicts
from tests.stages.stability.certified import written


def said_of(root, *found):
    """The verdicts on these searches, (rule, image, l2, lower bound, whether proven to be optimal)."""
    names = ("target_rule", "example_id", "l2", "lower_bound", "is_optimal")
    rows = [dict(zip(names, one, strict=True)) for one in found]
    return verdicts(
        Context(written(root, [("one", "a", 0)], [row | {"share": row["lower_bound"] / row["l2"]} for row in rows]))
    )


def test_untargeted_searches_answer_where_there_are_then_those_of_every_class(tmp_path):
    rows = [(rule, 0, 2.0, bound, False) for rule, bound in (("random", 0.5), ("every", 1.0), ("untargeted", 1.5))]
    for at, rule, value in ((3, "untargeted", "0.750"), (2, "every", "0.500"), (1, "random", "0.250")):
        [verdict] = said_of(tmp_path / rule, *rows[:at])
        assert f"({rule}, best)" in verdict.measure and verdict.value == value


def test_one_change_below_a_proven_distance_is_told_and_one_that_is_not_optimal_denies_all(tmp_path):
    optimal, loose, below = (("untargeted", i, 1.0, bound, bound == 1) for i, bound in enumerate((1.0, 0.5, 1.1)))
    start = {"all": "The changes found are proven", "some": "No change shorter", "below": "Changes were found below"}
    for name, found in (("all", [optimal]), ("some", [optimal, loose]), ("below", [optimal, loose, below])):
        assert said_of(tmp_path / name, *found)[0].sentence.startswith(start[name])
