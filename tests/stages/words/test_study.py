from itertools import product

import pytest

from intriguing import tables
from intriguing.errors import InputError
from intriguing.stages.words.printed import STUDY_ROWS
from intriguing.stages.words.study import render, study_tables


def rows(npmi=-0.25):
    conditions = list(product(("raw", "l2"), ("natural", "gaussian"), range(6), (1, -1)))
    return tables.WORD_ROWS.build(
        {
            "condition": [c for c, *_ in conditions],
            "basis": [b for _, b, *_ in conditions],
            "direction": [d for *_, d, _ in conditions],
            "sign": [s for *_, s in conditions],
            "words": [[f"{c}{b}{d}", "two", "three", "four", "five"] for c, b, d, _ in conditions],
            "npmi": [npmi] * len(conditions),
            "matched_percentile": [None if npmi is None else 97.0] * len(conditions),
            "median_count": [1234.0] * len(conditions),
        },
        corpus="c",
        seed=0,
        fold=1,
    )


def test_four_tables_of_five_directions_and_four_words():
    made = study_tables(rows(), corpus="c", seed=0, fold=1)
    assert [(t.condition, t.basis) for t in made] == list(STUDY_ROWS)
    for table in made:
        assert [r.direction for r in table.rows] == [1, 2, 3, 4, 5]
        assert all(len(r.words) == 4 for r in table.rows)
        assert table.rows[0].words[0] == f"{table.condition}{table.basis}0"


def test_the_studys_rows_stand_beside_ours():
    made = study_tables(rows(), corpus="c", seed=0, fold=1)
    assert made[0].rows[0].printed == "million site come files"
    assert made[3].rows[4].printed == "unemployed adult married females"
    assert all(len(row.split()) == 4 for printed in STUDY_ROWS.values() for row in printed)


def test_the_text_shows_every_figure_and_fits_a_page():
    text = render(study_tables(rows(), corpus="c", seed=0, fold=1))
    assert "Raw vectors, natural axes" in text and "Normalised vectors, random directions" in text
    line = next(x for x in text.splitlines() if "rawnatural0" in x)
    assert line.split() == [
        "1",
        "rawnatural0",
        "two",
        "three",
        "four",
        "-0.25",
        "97",
        "%",
        "1234",
        "million",
        "site",
        "come",
        "files",
    ]
    assert max(map(len, text.splitlines())) <= 120


def test_unknown_figures_are_dashes():
    line = next(x for x in render(study_tables(rows(None), corpus="c", seed=0, fold=1)).splitlines() if "raw" in x)
    assert "nan" not in line.lower() and "None" not in line


def test_more_directions_than_the_study_printed_have_nothing_beside_them():
    made = study_tables(rows(), corpus="c", seed=0, fold=1, directions=6)
    assert made[0].rows[5].printed == ""


def test_rows_that_are_not_there_are_an_error():
    with pytest.raises(InputError, match="seed 7"):
        study_tables(rows(), corpus="c", seed=7, fold=1)
