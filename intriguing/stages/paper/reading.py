"""What the tables `paper_comparison` and `paper_claims` say of a data set, as page and terminal show it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from intriguing.results import Run
from intriguing.stages.paper.comparison.paper_tables import AMPLIFIED

Row = dict[str, Any]
Name = tuple[str, int]


@dataclass(frozen=True)
class Reading:
    """A data set's comparison.

    grade, rule: those whose figures come first; source: where the data come from; amplified_rms: what changes were
    amplified to.
    """

    dataset: str
    source: str
    grade: str
    rule: str
    amplified_rms: float
    cells: list[Row]
    claims: list[Row]

    @property
    def has_paper(self) -> bool:
        """Whether a cell stands beside one of the paper's."""
        return any(row["paper"] is not None for row in self.cells)

    @property
    def grades(self) -> list[str]:
        """The grades of searches, the main one first."""
        there = dict.fromkeys(row["grade"] for row in self.cells if row["grade"])
        return sorted(there, key=lambda grade: grade != self.grade)

    def models(self, table: int | None = None) -> list[Name]:
        """The models in the run's order; those of one of the paper's tables (1 for tables 1 and 2, 3 for 3 and 4)."""
        rows = [r for r in self.cells if r["measure"] in ("test_error", "distortion")]
        kept = [r for r in rows if table is None or r["paper_table"] == table]
        return list(dict.fromkeys((r["model"], r["model_seed"]) for r in kept))

    def label(self, name: Name) -> str:
        """What a model is called: its name, with the seed where there are several."""
        several = sum(model == name[0] for model, _ in self.models()) > 1
        return f"{name[0]}#{name[1]}" if several else name[0]

    def cell(self, measure: str, target: Name, source: Name = ("", -1), rule: str = "", grade: str = "") -> Row | None:
        """One row of `paper_comparison`; None where there is none."""
        key = (measure, *source, *target, rule, grade)
        return self._index.get(key)

    def matrix(self, kind: str, models: Sequence[Name]) -> list[list[Row | None]]:
        """Rows of cells: made for each of the models, fed to each of them, by the main rule and grade."""
        return [[self.cell(kind, target, source, self.rule, self.grade) for target in models] for source in models]

    def noise(self, models: Sequence[Name]) -> list[tuple[str, list[Row | None]]]:
        """The rows of noise of a fixed size, smallest first."""
        sizes = dict.fromkeys(r["measure"] for r in self.cells if r["measure"].startswith("noise "))
        ordered = sorted(sizes, key=lambda name: float(name.split()[1]))
        return [(name, [self.cell(name, target) for target in models]) for name in ordered]

    def of_figure(self, figure: str, kind: str = "minimal") -> list[Row]:
        """Claims, effects or agreements of a kind of change, by the main rule and grade."""
        main = (self.rule, self.grade)
        rows = [r for r in self.claims if r["figure"] == figure and r["kind"] == kind]
        return [r for r in rows if (r["target_rule"], r["grade"]) == main]

    def nearest_rules(self) -> list[Row]:
        """How far the mean distortions are from table 1 by rule and grade, the nearest first."""
        return [row for row in self.claims if row["name"] == "distortions of table 1"]

    @cached_property
    def _index(self) -> dict[tuple[Any, ...], Row]:
        keys = ("measure", "source_model", "source_seed", "model", "model_seed", "target_rule", "grade")
        return {tuple(row[key] for key in keys): row for row in self.cells}


def readings(run: Run) -> list[Reading]:
    """What each data set of the run has to compare, by data sets' names."""
    cells, claims = run.table("paper_comparison").to_pylist(), run.table("paper_claims").to_pylist()
    found, amplified = [], float(run.section("transfer").get("amplified_rms", AMPLIFIED))
    for dataset in dict.fromkeys(row["dataset"] for row in cells):
        mine = [row for row in cells if row["dataset"] == dataset]
        grade, rule = _main(run, mine)
        of_claims = [row for row in claims if row["dataset"] == dataset]
        found.append(Reading(dataset, mine[0]["source"], grade, rule, amplified, list(_ordered(run, mine)), of_claims))
    return found


def _main(run: Run, cells: Sequence[Row]) -> tuple[str, str]:
    """The grade and rule whose figures come first: those that the spec names, else the first that were fed."""
    fed = [row for row in cells if row["measure"] == "minimal"] or [row for row in cells if row["grade"]]
    grades, rules = ([*dict.fromkeys(row[key] for row in fed)] or [""] for key in ("grade", "target_rule"))
    grade = run.section("paper").get("grade") or run.section("blind_spots").get("grade")
    rule = run.section("paper").get("target_rule")
    return str(grade if grade in grades else grades[0]), str(rule if rule in rules else rules[0])


def _ordered(run: Run, cells: Sequence[Row]) -> Iterator[Row]:
    """Rows with their models as the spec lists them."""
    order = {name: i for i, name in enumerate(run.in_order({(row["model"], row["model_seed"]) for row in cells}))}
    yield from sorted(cells, key=lambda row: order[row["model"], row["model_seed"]])
