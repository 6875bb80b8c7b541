"""What a notebook shows of a run, a matrix, searches and a top-K: small, and every name as text."""

import copy
import pickle

import numpy as np
import pandas as pd
import torch

import intriguing as ig
from tests.synthetic_run import NASTY


def shown(value, most=20_000):
    html = value._repr_html_()
    assert "<script" not in html and "<img" not in html
    assert len(html) < most
    return html


def test_a_run_is_shown_with_its_tables_and_names_as_text(invented_run):
    html = shown(ig.open_run(invented_run))
    assert "&lt;script" in html
    assert ">distortions<" in html and "a row is one search" in html


def test_a_matrix_is_shown_in_percent_with_intervals_and_is_a_frame(invented_run):
    run = ig.open_run(invented_run)
    matrix = run.transfer_matrix(dataset="glyphs", target_rule="untargeted")
    html = shown(matrix)
    low, high, n = (matrix.attrs[name].iloc[0, 0] for name in ("low", "high", "n"))
    cell = f">{100 * matrix.iloc[0, 0]:.1f}<br><small>{100 * low:.1f} to {100 * high:.1f} of {n:,}</small></td>"
    assert cell in html and "title=" not in html  # a title is told to a pointer alone
    assert NASTY not in html
    for plain in (matrix.T, matrix * 2, matrix.iloc[:1], matrix[[matrix.columns[0]]]):
        assert type(plain) is pd.DataFrame
    again = pickle.loads(pickle.dumps(copy.deepcopy(matrix)))
    assert np.array_equal(again.to_numpy(), matrix.to_numpy(), equal_nan=True)


def test_searches_are_shown_by_status_and_the_first_ones_by_number():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    result = ig.minimal_distortion(model, torch.rand(30, 1, 4, 4), torch.arange(30) % 3)
    html = shown(result)
    found = result.status.count("found")
    assert f"{found:,} found" in html and "30 searches: the first 10 are shown." in html
    assert html.count("<tr>") == 11
    assert f"<div>found: {result.sentences['found']}</div>" in html
    assert shown(ig.SearchResult.none(torch.rand(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))


def test_a_scan_and_its_result_are_shown_by_ids():
    scan = ig.TopK(ig.Directions.natural(20), k=12)
    assert "Top 0 of 0 rows in 20 directions" in shown(scan)
    scan.update(np.eye(20, dtype=np.float32), ids=range(100, 120))
    html = shown(scan)
    assert html == shown(scan.result())
    assert "Top 12 of 20 rows in 20 directions, the first 8 are shown" in html
    assert '<td style="text-align:right">100<br><small>1</small></td>' in html
