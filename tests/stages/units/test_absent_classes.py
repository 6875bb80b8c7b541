"""Classes of a data set that no tested input has: they are no hypotheses, in a sweep as in `ig.rotation_test`."""

import numpy as np
import pytest

import intriguing as ig
from intriguing.data import load_dataset
from intriguing.sweep import execute, prepare

OF_LABELS = ["purity", "entropy", "enrichment", "unique_classes", "auroc"]
PRESENT = (1, 4, 8)


@pytest.fixture
def digits(tmp_path):
    """A file of digits: all ten classes to train on, three of them in the test split."""
    parts = load_dataset("mnist-sample").splits
    train, test = parts["train"], parts["test"]
    of_three = np.flatnonzero(np.isin(test.labels, PRESENT))[:240]
    arrays = {
        "train_images": train.pixels(slice(0, 300)).numpy(),
        "train_labels": train.labels[:300],
        "test_images": test.pixels(of_three).numpy(),
        "test_labels": test.labels[of_three],
    }
    np.savez(tmp_path / "digits.npz", **arrays)
    return tmp_path / "digits.npz"


@pytest.mark.usefixtures("without_page")
@pytest.mark.parametrize("mode", ["store", "stream"])
def test_absent_classes_count_in_no_score_of_a_sweep(digits, tmp_path, mode):
    spec = {
        "name": "absent",
        "datasets": {"digits": {"source": f"npz:{digits}"}},
        "models": {"softmax": {"layers": ["logits"], "training": {"epochs": 1}}},
        "units": {
            "mode": mode,
            "k": 6,
            "bases": ["natural"],
            "rotations": 9,
            "subsamples": 4,
            "metrics": OF_LABELS,
            "controls": [],
            "doses": [],
        },
        "compute": {"rows_per_shard": 150},
    }
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    run = ig.open_run(tmp_path / "run")

    top = run.pandas("topk", sign=1)
    shares = top.groupby(["direction", "label"]).size() / 6
    entropy = (-shares * np.log(shares)).groupby("direction").sum() / np.log(len(PRESENT))
    stored = run.pandas("unit_scores").query("metric == 'entropy'").set_index("direction").value
    np.testing.assert_allclose(stored, entropy, rtol=1e-12, atol=1e-12)

    if mode == "store":
        rows = run.pandas("activations")
        labels = run.pandas("examples").set_index("example_id").label[rows.example_id]
        assert set(labels) == set(PRESENT)
        vectors = np.stack(rows["vector"].to_list())
        alone = ig.rotation_test(vectors, labels.to_numpy(), metrics=OF_LABELS, k=6, rotations=9, subsamples=4)
        swept = run.pandas("rotation_tests").set_index("metric")
        for test in alone:
            for name in ("natural", "null_mean", "p_two"):
                assert swept[name][test.metric] == pytest.approx(getattr(test.figures, name), rel=1e-5)
