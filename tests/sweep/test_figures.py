"""Every figure of a run as axes, and all of them as files."""

import matplotlib.pyplot as plt
import pytest

import intriguing as ig

pytestmark = pytest.mark.slow


def test_every_figure_that_a_run_has_data_for_gives_axes_with_something_drawn(invented_run):
    figures = ig.open_run(invented_run).figures
    assert {"distortions", "transfer", "scores", "robust_accuracy", "class_pairs"} <= set(figures.names())
    for name in figures.names():
        axes = getattr(figures, name)(**figures.choices(name)[0])
        assert any(one.has_data() for one in axes), name
        plt.close(axes[0].figure)


def test_a_figure_that_there_is_not_is_told_with_the_nearest(invented_run):
    figures = ig.open_run(invented_run).figures
    with pytest.raises(ig.errors.UnknownNameError, match="no figure named 'distortion'. Did you mean 'distortions'"):
        figures.distortion()
    assert not hasattr(figures, "distortion") and "distortions, " in repr(figures)


def test_all_choices_are_written_as_pdf_and_png_under_names_of_their_own(invented_run, tmp_path):
    run = ig.open_run(invented_run)
    figures = run.figures
    figures.__dict__["_named"] = {"distortions": figures._named["distortions"]}
    written = figures.save(tmp_path / "figures")
    assert len(written) == len(set(written)) == 2 * len(figures.choices("distortions"))
    assert {path.parent for path in written} == {tmp_path / "figures"}
    begins = {path.suffix: path.read_bytes()[:4] for path in written}
    assert begins == {".pdf": b"%PDF", ".png": b"\x89PNG"}
    with pytest.raises(ig.errors.StoreError, match="cannot be written"):
        (tmp_path / "file").write_text("mine")
        figures.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
