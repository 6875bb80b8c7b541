"""The comparison on the page and in the terminal."""

import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intriguing import open_run
from intriguing.stages.paper.printed import printed
from intriguing.sweep.reporting.printed import verdicts
from intriguing.tables import RAYS
from tests.pages import words_of
from tests.stages.paper.planted import Hand


def written(root, hand, beside=True):
    root.mkdir()
    spec = {"name": "planted", "datasets": {"mnist": {}}, "models": {name: {} for name in hand.names}}
    spec |= {"blind_spots": {"grade": "best"}, "paper": {"target_rule": "random"}}
    (root / "plan.json").write_text(json.dumps({"spec": spec, "name": "planted", "tasks": 1}))
    for name, rows in hand.compare(beside).items():
        (root / "tables" / name).mkdir(parents=True)
        pq.write_table(rows, root / "tables" / name / f"part-00000-{0:016x}.parquet")
    return root


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    return written(tmp_path_factory.mktemp("paper") / "run", Hand())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return written(tmp_path_factory.mktemp("own") / "run", Hand(("a", "b", "c")), beside=False)


def test_the_page_opens_with_the_claims_and_shows_both_matrices(beside):
    words = words_of(beside)
    assert "Holds. Adversarial images transfer between architectures" in words
    assert words.index("Holds. Adversarial") < words.index("Table 2") < words.index("Table 4, as found")
    assert words.index("Ours FC10(1e-4)") < words.index("The paper's FC10(1e-4)")
    assert "71.9 76.2 100.0 48.1 47.0 34.4" in words
    assert "It would have been refuted by other networks that err no more often" in words
    assert "each network was trained once" in words
    assert "then clipped to [0, 1]; that leaves a mean RMS of 0.0500." in words


def test_a_runs_answers_begin_with_the_papers_claims_and_say_of_which_changes_they_are(beside):
    first, *_ = verdicts(open_run(beside))
    assert first.sentence.startswith("Adversarial images transfer between architectures")
    assert "Holm's p = " in first.interval and "of networks" in first.interval
    assert "as they were found (targets " in first.meaning


def test_text_has_the_papers_tables_in_order_with_the_papers_cells_in_brackets(beside):
    text = printed(open_run(beside))
    places = [text.index(f"Table {n}") for n in (1, 2, 3, 4)]
    assert places == sorted(places)
    assert re.search(r"\| FC10\(1\) .* \(71\.9\)\* .* \(34\.4\) ", text)
    assert re.search(r"\| FC100-100-10 P1 +\| 0\.10 \(0\.00\)\* +\| 2\.50 \(2\.40\) +\| 2\.00 \(2\.00\) ", text)
    assert "each: hardest" in text
    assert "Table 4. Amplified to RMS 0.1: errors, in %" in text
    assert "where the paper's formula lacks the factor sqrt(n) in print, then clipped to [0, 1]" in text
    assert "- Holds: Adversarial images transfer between networks that never saw the same training image." in text
    assert "- random, best: mean factor" in text


def test_every_line_of_a_text_table_is_as_long_as_its_head(beside):
    blocks = [b.splitlines() for b in printed(open_run(beside)).split("\n\n") if b.startswith("|")]
    assert len(blocks) == 7
    for block in blocks:
        assert len({(len(line), line.count("|")) for line in block}) == 1


def test_a_users_own_models_are_shown_without_a_paper(own):
    words, text = words_of(own), printed(open_run(own))
    for shown in (words, text):
        assert "Adversarial images transfer between architectures" in shown
        assert "paper's figure" not in shown
        assert "Table 2" not in shown
        assert "Amplified: x + 0.1 sqrt(n) (x' - x)" in shown
    assert "Table 1" not in text
    assert "The paper's" not in words


def test_the_curve_is_a_figure_of_all_pairs_of_networks_beside_noise(own, tmp_path):
    assert open_run(own).figures.names() == {}  # no ray was followed
    root = shutil.copytree(own, tmp_path / "run")
    ray = {"grade": "best", "target_rule": "random", "kind": "adversarial", "source_seed": 0}
    noise = {"grade": "", "target_rule": "", "kind": "gaussian", "source_model": "", "source_seed": -1}
    rows = [
        ray | {"source_model": "a", "model": "b", "predictions": [0, 1]},
        ray | {"source_model": "b", "model": "a", "predictions": [0, 0]},
        ray | {"source_model": "a", "model": "a", "predictions": [1, 1]},  # on itself: no transfer
        ray | {"source_model": "b", "model": "a", "predictions": [1, 1], "clean_error": True},  # wrong before
        noise | {"model": "a", "predictions": [0, 0]},
    ]
    alike = {"dataset": "mnist", "model_seed": 0, "label": 0, "clean_error": False, "sizes": [0.05, 0.1]}
    alike |= {"rms": [0.05, 0.1], "status": "crossed", "crossing": 0.1, "right_below": 0.09, "forward_passes": 9}
    made = [{**alike, **row, "search_id": str(i), "example_id": i} for i, row in enumerate(rows)]
    (root / "tables" / "rays").mkdir()
    path = root / "tables" / "rays" / "part-00000-0000000000000000.parquet"
    pq.write_table(pa.Table.from_pylist(made, RAYS.schema), path)
    [axes] = open_run(root).figures.errors_by_size()
    adversarial, gaussian = axes.get_lines()
    assert adversarial.get_xdata() == pytest.approx([0.05, 0.1])
    assert adversarial.get_ydata().tolist() == [0, 50]
    assert gaussian.get_ydata().tolist() == [0, 0]


def test_a_run_without_a_comparison_says_nothing(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"spec": {"name": "x"}, "name": "x", "tasks": 0}))
    assert printed(open_run(tmp_path)) == ""
