"""What is shown of hardened networks: the page's figures and tables, the document, and the terminal."""

import re

import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.results import open_run
from intriguing.stages.hardening.outcome.summary import summaries
from intriguing.stages.hardening.outcome.written import write_into, written
from intriguing.stages.hardening.printed import printed
from intriguing.sweep.reporting.page import write_report
from tests.docs.test_docs import ROOT
from tests.pages import Document
from tests.stages.hardening.invented import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(make_run(tmp_path_factory.mktemp("invented") / "run"))


@pytest.fixture(scope="module")
def page(run):
    return Document(write_report(run.path).read_text())


def cells(text, first):
    """The cells of the rows of the tables whose first cell is `first`, in order."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if line[0].strip() == first]


def test_the_figures_say_what_they_show_errors_and_distortions_by_epoch(page):
    alts = [attributes["aria-label"] for attributes in page.all("svg")]
    (error,) = [alt for alt in alts if alt.startswith("Error by epoch of each variant")]
    assert "weight decay from 6.41 % to 1.61 % in 3 epochs" in error
    assert "pgd from 6.40 % to 1.60 % in 3 epochs" in error
    (distortion,) = [alt for alt in alts if alt.startswith("Mean minimal distortion by epoch of each variant")]
    # After the last epoch one image more is searched than after the others: it is not in the curve.
    assert "weight decay from 0.0320 to 0.0400 in 3 epochs" in distortion
    assert re.search(r"pgd from 0\.0576\d* to 0\.072\d* in 3 epochs", distortion)
    (crosses,) = [alt for alt in alts if alt.startswith("Error against mean minimal distortion")]
    assert crosses.count(" % at ") == 4


def test_the_page_says_how_soon_an_error_is_reached_and_how_large_the_noise_is(page):
    assert "Until the error is 1.77 %" in page.words
    assert "Until the error is 3.22 %" in page.words
    assert "3.0 epochs, 6.0 CPU-s" in page.words
    assert "input 0.0180 (0.90 of each layer's), hidden –" in page.words
    assert "falls along a cosine" in page.words
    assert "noise of the test set 0.18 points (18 images)" in page.words


def test_the_document_has_a_row_per_variant_in_each_table(run):
    text = written(run)
    whole, soon = cells(text, "each layer")
    assert whole[1:4] == ["3", "0.10", "1.81 ± 0.13"]
    assert whole[4] == "+0.20"  # both seeds give the same difference: no interval
    assert whole[6] == "1.10"
    assert whole[7:] == ["–", "25", "6 (2)"]
    assert soon[1] == "never"
    assert soon[3] == "input 0.0200, hidden 0.0500"
    assert cells(text, "pgd")[1][1:] == ["3.0 epochs, 6.0 CPU-s", "2.0 epochs, 4.0 CPU-s", "–"]
    assert cells(text, "noise")[1][3] == "input 0.0180 (0.90 of each layer's), hidden –"
    (claim,) = cells(text, "lower error than weight decay")
    assert claim[1].startswith("open (every seed gives the same difference")
    assert claim[3:] == ["no interval", "0.18 points (18 images)", "–"]
    assert "from 9 settings" in text
    assert text.rstrip().endswith("**pgd**, 1.80 times its mean minimal distortion.")


def test_ratios_are_over_the_images_that_both_networks_get_right(run):
    by_name = {v.name: v for v in summaries(run)[0].variants}
    # The second image is one that `noise` gets wrong, and both means leave it out. The ratios are 1 and 1.0025.
    assert by_name["noise"].robust.mean == pytest.approx(np.log(0.0401 / 0.04) / 2)
    assert by_name["noise"].distortion[0] != pytest.approx(by_name["weight decay"].distortion[0], rel=0.1)


def test_trainings_that_are_not_measured_to_the_end_do_not_count_yet(tmp_path):
    left_out = [("pgd", 1, 3), ("each layer", 1, 2)]
    summary = summaries(open_run(make_run(tmp_path / "run", left_out=left_out)))[0]
    assert {v.name: v.seeds for v in summary.variants} == {
        "weight decay": [0, 1], "each layer": [0], "noise": [0, 1], "pgd": [0],
    }  # fmt: skip
    assert "(of 2 in the spec)" in written(open_run(tmp_path / "run"))
    assert written(open_run(make_run(tmp_path / "none", variants=["pgd"]))) == "Nothing was hardened yet.\n"


def test_the_terminal_has_lines_of_80_and_says_how_soon(run):
    text = printed(run)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"weight decay +3\.0 epochs, 6\.0 CPU-s", text)


def test_results_are_written_into_their_place_and_nothing_else_changes(run, tmp_path):
    path = tmp_path / "results.md"
    write_into(path, run)
    assert path.read_text().count("## invented: net on mnist") == 1
    once = path.read_text()
    path.write_text(f"# Above\n\n{once.replace('1.81', '9.99')}\nBelow.\n")
    write_into(path, run)
    assert path.read_text() == f"# Above\n\n{once}\nBelow.\n"
    path.write_text("# Above\n\nBelow.\n")
    write_into(path, run)
    assert path.read_text() == f"# Above\n\nBelow.\n\n{once}"
    path.write_text(once.replace("<!-- invented: end -->", ""))
    with pytest.raises(InputError, match="not the one that ends it"):
        write_into(path, run)


def test_the_results_in_the_docs_stand_where_the_command_writes_them():
    text = (ROOT / "docs" / "results" / "hardening.md").read_text()
    for spec in ("hardening", "hardening-long", "hardening-trials"):
        opening = f"<!-- {spec}: written by `python jobs/hardening.py {spec} --results` -->"
        _, found, rest = text.partition(opening)
        assert found
        assert f"## {spec}: " in rest.partition(f"<!-- {spec}: end -->")[0]
