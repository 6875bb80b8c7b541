"""Alike models stand together where there are more than two; and the figures of transfer, as axes."""

import json

import numpy as np
import pytest

from intriguing import open_run
from intriguing.report import Context
from intriguing.stages.transfer.page import parts
from tests.pages import Document, rewrite
from tests.results.test_rays import SIZES, follow
from tests.synthetic_run import SyntheticRun

NAMES = ("a", "b", "c", "d")


def is_near(source, target):
    """Two kinds of models: a and c, b and d."""
    return NAMES.index(source) % 2 == NAMES.index(target) % 2


def planted(root):
    """A run whose models fool those of their kind by every image and at a small size, and others by none, or late."""
    writer = SyntheticRun(root, models=NAMES, layers=("hidden",))
    writer.write("plan", "model_rows", "searched")
    for source in NAMES:
        for target in NAMES:
            size = 0.02 if source == target else 0.07 if is_near(source, target) else np.inf
            follow(writer, source, target, [size] * 24)
        follow(writer, "", source, [0.15] * 24, kind="gaussian")
    writer.write("examples")
    rewrite(root, "transfer", "is_error", is_fooled)
    return root


def is_fooled(row):
    if row["kind"] != "minimal":
        return row["is_error"]
    return is_near(row["source_model"], row["model"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("order") / "run")


def test_the_matrix_can_be_ordered_so_that_models_of_a_kind_stand_together(root):
    html = "".join(part.html for part in parts(Context(open_run(root))))
    [orders] = [each["data-orders"] for each in Document(html).all("table") if "data-orders" in each]
    orders = json.loads(orders)
    assert orders["spec"] == [0, 1, 2, 3]
    assert sorted(orders["alike"]) == [0, 1, 2, 3]
    kinds = [i % 2 for i in orders["alike"]]
    assert kinds in ([0, 0, 1, 1], [1, 1, 0, 0])
    # The sizes that fool half of the time have a second table, in an order of their own.
    assert html.count("alike networks together") == 1


def test_the_matrix_of_errors_is_a_figure(root):
    [axes] = open_run(root).figures.transfer(kind="minimal")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    texts = np.array([text.get_text() for text in axes.texts]).reshape(4, 4)
    assert (texts == [["100.0" if is_near(s, t) else "0.0" for t in NAMES] for s in NAMES]).all()
    assert "minimal" in axes.get_xlabel()


def test_the_sizes_that_fool_half_are_a_figure_and_never_is_left_empty(root):
    [axes] = open_run(root).figures.half_rms()
    texts = np.array([text.get_text() for text in axes.texts]).reshape(4, 4)
    assert texts[0].tolist() == ["0.020", "never", "0.070", "never"]
    shown = axes.images[0].get_array()
    assert (shown.mask == (texts == "never")).all()
    assert shown[0, 2] == pytest.approx(0.07)


def test_the_curves_are_a_figure_with_a_panel_per_model_fed(root):
    panels = open_run(root).figures.amplification()
    assert [axes.get_title() for axes in panels] == list(NAMES)
    first = [line.get_ydata().tolist() for line in panels[0].get_lines()]
    # Fed to a: made for a, b, c, d, then noise, at 0.05, 0.1 and 0.2.
    assert first == [[100, 100, 100], [0, 0, 0], [0, 100, 100], [0, 0, 0], [0, 0, 100]]
    assert panels[0].get_lines()[0].get_xdata() == pytest.approx(SIZES)


def test_what_a_run_leaves_open_must_be_named(root):
    run = open_run(root)
    assert {"transfer", "half_rms", "amplification"} <= run.figures.names().keys()
    assert {choice["kind"] for choice in run.figures.choices("transfer")} == {"minimal", "amplified", "gaussian"}
    with pytest.raises(ValueError, match="minimal"):
        run.figures.transfer()
