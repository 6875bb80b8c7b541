import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import intriguing as ig
from intriguing.errors import CorruptError, InputError
from intriguing.randomness import generator, hash_ids
from intriguing.units.scan.ranking import canonical_projection


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(n, dim, seed=0, decimals=None):
    rows = generator(seed, "test rows").standard_normal((n, dim)).astype(np.float32)
    return rows if decimals is None else np.round(rows, decimals)


def oracle(rows, directions, ids, k, sign=1, seed=0):
    """Values and ids of the top k by a full sort in float64 of the scan's own order."""
    scores = (rows.astype(np.float64) @ directions.columns.astype(np.float64)).astype(np.float32).T * sign + 0.0
    hashes = hash_ids(seed, "top-k positions", hash_ids(seed, "top-k ties", ids))
    order = np.stack([np.lexsort((hashes, -line)) for line in scores])[:, :k]
    last = np.take_along_axis(scores, order[:, -1:], axis=1)
    return np.take_along_axis(scores, order, axis=1) * sign, ids[order], (scores == last).sum(axis=1)


def scan_of(rows, directions, ids, **options):
    scan = ig.TopK(directions, **options)
    scan.update(rows, ids)
    return scan


def same(a, b):
    return all(
        np.array_equal(getattr(a, n), getattr(b, n)) for n in ("values", "ids", "positions", "ties", "arbitrary")
    )


DIRECTIONS = {
    "natural": lambda d: ig.Directions.natural(d),
    "haar": lambda d: ig.Directions.haar(d, 3),
    "more than units": lambda d: ig.Directions.gaussian(d, 3 * d, 1),
}


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("n", [1, 15, 64, 200, 5000])
def test_a_scan_equals_a_full_sort(name, n):
    directions, rows, ids = DIRECTIONS[name](12), rows_of(n, 12), np.arange(n) * 7 - 3
    scan = scan_of(rows, directions, ids, k=16, both=True)
    for sign in (1, -1):
        values, found, ties = oracle(rows, directions, ids, 16, sign)
        top = scan.result(sign)
        assert np.array_equal(top.values, values)
        assert np.array_equal(top.ids, found)
        assert np.array_equal(top.ties, ties)


@pytest.mark.parametrize("natural", [True, False])
def test_ties_are_ordered_by_the_hash_and_counted(natural):
    rows, ids = rows_of(6000, 6, decimals=0), np.arange(6000)
    rows[:, 2] = 0.0
    directions = ig.Directions.natural(6) if natural else ig.Directions.matrix(np.eye(6)[:, ::-1])
    scan = scan_of(rows, directions, ids, k=20, both=True, seed=5)
    for sign in (1, -1):
        values, found, ties = oracle(rows, directions, ids, 20, sign, seed=5)
        top = scan.result(sign)
        assert np.array_equal(top.ids, found)
        assert np.array_equal(top.values, values)
        assert np.array_equal(top.ties, ties)
        assert top.arbitrary[2 if natural else 3]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 900), max_size=6),
    order=st.randoms(use_true_random=False),
    natural=st.booleans(),
    decimals=st.sampled_from([0, 1, 7]),
    k=st.sampled_from([1, 5, 40]),
)
def test_any_sharding_in_any_order_equals_one_pass(cuts, order, natural, decimals, k):
    rows, ids = np.maximum(rows_of(900, 5, decimals=decimals), -0.5), np.arange(900)
    directions = ig.Directions.natural(5) if natural else ig.Directions.haar(5, 2)
    whole = scan_of(rows, directions, ids, k=k, both=True)
    edges = [0, *sorted(cuts), 900]
    shards = [scan_of(rows[a:b], directions, ids[a:b], k=k, both=True) for a, b in itertools.pairwise(edges)]
    order.shuffle(shards)
    while len(shards) > 1:
        a = shards.pop(order.randrange(len(shards)))
        b = shards.pop(order.randrange(len(shards)))
        shards.append(a.merge(b))
    for sign in (1, -1):
        assert same(shards[0].result(sign), whole.result(sign))
    assert shards[0].rows == 900


def test_rows_in_another_order_and_in_small_blocks_give_the_same_bits():
    rows, ids = rows_of(3000, 33, decimals=2), np.arange(3000)
    directions = ig.Directions.gaussian(33, 50, 1)
    shuffled = generator(1, "shuffle").permutation(3000)
    blocks = ig.TopK(directions, 8)
    for start in range(0, 3000, 37):
        part = shuffled[start : start + 37]
        blocks.update(rows[part], ids[part])
    assert same(blocks.result(), scan_of(rows, directions, ids, k=8).result())


def test_a_bfloat16_filter_changes_nothing():
    rows, ids = rows_of(20_000, 64) * np.exp(rows_of(20_000, 1, 1)) + 2.0, np.arange(20_000)
    directions = ig.Directions.gaussian(64, 40, 1)
    exact = scan_of(rows, directions, ids, k=16, both=True, precision="float32")
    rough = scan_of(rows, directions, ids, k=16, both=True, precision="bfloat16")
    assert all(same(exact.result(sign), rough.result(sign)) for sign in (1, -1))


def test_a_bfloat16_filter_is_exact_where_neighbours_differ_by_less_than_its_precision():
    rows = 1.0 + np.arange(4096, dtype=np.float32)[:, None] * np.float32(1e-6) * np.ones((1, 8), dtype=np.float32)
    directions = ig.Directions.matrix(np.full((8, 1), 0.125))
    order = generator(2, "order").permutation(4096)
    top = scan_of(rows[order], directions, order, k=16, precision="bfloat16").result()
    assert top.ids[0].tolist() == list(range(4095, 4079, -1))


def test_float16_rows_are_ranked_by_their_stored_values():
    rows, ids = rows_of(500, 4).astype(np.float16), np.arange(500)
    directions = ig.Directions.natural(4)
    assert same(scan_of(rows, directions, ids).result(), scan_of(rows.astype(np.float32), directions, ids).result())


def test_rows_that_are_not_finite_are_skipped_and_named():
    rows, ids = rows_of(300, 5), np.arange(300)
    rows[7, 2], rows[100, 0], rows[299, 4] = np.nan, np.inf, -np.inf
    good = np.isfinite(rows).all(axis=1)
    directions = ig.Directions.haar(5)
    scan = scan_of(rows, directions, ids)
    assert scan.skipped_ids == [7, 100, 299]
    assert scan.rows == 297
    assert same(scan.result(), scan_of(rows[good], directions, ids[good]).result())


def test_rows_whose_sum_alone_overflows_are_kept():
    rows = np.full((20, 3), 3e38, dtype=np.float32)
    assert scan_of(rows, ig.Directions.natural(3), np.arange(20)).rows == 20


def test_fewer_rows_than_k_give_as_many_ranks_as_rows():
    top = scan_of(rows_of(3, 4), ig.Directions.natural(4), np.arange(3), k=10).result()
    assert top.values.shape == top.ids.shape == (4, 3)


def test_an_empty_scan_has_no_ranks():
    assert ig.TopK(ig.Directions.natural(4)).result().ids.shape == (4, 0)


def test_places_of_one_map_are_told_apart():
    rows = rows_of(100, 3)
    ids, positions = np.repeat(np.arange(25), 4), np.tile(np.arange(4), 25)
    scan = ig.TopK(ig.Directions.natural(3), k=5)
    scan.update(rows, ids, positions)
    top = scan.result()
    assert np.array_equal(top.ids * 4 + top.positions, np.argsort(-rows, axis=0)[:5].T)


def test_a_shard_merged_twice_keeps_its_rows_once():
    rows, ids = rows_of(50, 4), np.arange(50)
    whole = scan_of(rows, ig.Directions.natural(4), ids)
    again = scan_of(rows, ig.Directions.natural(4), ids).merge(scan_of(rows[:20], ig.Directions.natural(4), ids[:20]))
    assert np.array_equal(again.result().ids, whole.result().ids)


@pytest.mark.parametrize("made", [ig.Directions.haar(6, 1), ig.Directions.natural(6)])
def test_a_stored_scan_goes_on_where_it_was(made):
    rows, ids = rows_of(400, 6, decimals=1), np.arange(400)
    first = scan_of(rows[:150], made, ids[:150], both=True)
    first.update(np.full((1, 6), np.nan), [400])
    again = ig.TopK.from_bytes(first.to_bytes())
    again.update(rows[150:], ids[150:])
    assert same(again.result(-1), scan_of(rows, made, ids, both=True).result(-1))
    assert again.skipped_ids == [400]


def test_a_stored_scan_does_not_hold_the_directions():
    assert len(scan_of(rows_of(20, 100), ig.Directions.gaussian(100, 10), np.arange(20)).to_bytes()) < 10_000


def test_a_stored_scan_of_a_matrix_needs_that_matrix():
    columns = rows_of(5, 7)
    data = scan_of(rows_of(30, 5), ig.Directions.matrix(columns), np.arange(30)).to_bytes()
    bare = ig.TopK.from_bytes(data)
    assert bare.result().ids.shape == (7, 16)
    with pytest.raises(InputError, match="source"):
        bare.update(rows_of(30, 5), np.arange(30))
    with pytest.raises(InputError):
        ig.TopK.from_bytes(data, ig.Directions.matrix(columns + 1))
    ig.TopK.from_bytes(data, ig.Directions.matrix(columns)).update(rows_of(30, 5), np.arange(30))


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_bytes_that_are_no_scan_are_refused(cut):
    data = scan_of(rows_of(20, 3), ig.Directions.natural(3), np.arange(20)).to_bytes()
    with pytest.raises(CorruptError):
        ig.TopK.from_bytes(data[:cut])


def test_scans_of_different_directions_are_not_merged():
    with pytest.raises(InputError, match="merged"):
        ig.TopK(ig.Directions.haar(4, 1)).merge(ig.TopK(ig.Directions.haar(4, 2)))


@pytest.mark.parametrize("k", [0, 2.0, True, "3"])
def test_a_number_of_ranks_that_is_none_is_refused(k):
    with pytest.raises(InputError, match="a whole number of at least 1"):
        ig.TopK(ig.Directions.natural(3), k=k)


@pytest.mark.parametrize("ids", [[0.5, 1.5], ["a", "b"]])
def test_ids_that_are_no_whole_numbers_are_refused(ids):
    """0.5 was taken for the input 0."""
    with pytest.raises(InputError, match="whole numbers"):
        ig.TopK(ig.Directions.natural(3), k=1).update(np.eye(2, 3, dtype=np.float32), np.array(ids))


def test_ids_and_positions_that_no_column_holds_are_refused():
    """They were cut to whole numbers, or wrapped around."""
    scan, rows = ig.TopK(ig.Directions.natural(3), k=1), np.eye(2, 3, dtype=np.float32)
    for positions in ([0.5, 1.5], [2**40, 1]):
        with pytest.raises(InputError, match="Positions are whole numbers"):
            scan.update(rows, [0, 1], positions)
    with pytest.raises(InputError, match="of 64 bits"):
        scan.update(rows, np.array([2**63 + 1, 0], dtype=np.uint64))
    for there in (scan, ig.Moments(3)):
        with pytest.raises(InputError, match="real numbers"):
            there.update(torch.from_numpy(rows).to(torch.complex64), *([[0, 1]] if there is scan else []))


@pytest.mark.parametrize("change", [pd.DataFrame, lambda rows: rows.astype(">f4"), lambda rows: rows[::-1][::-1]])
def test_a_block_of_any_make_is_read_row_by_row(change):
    """torch took a square frame for its transpose, and nothing of another byte order or of steps backwards."""
    rows = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    scan, moments = ig.TopK(ig.Directions.natural(4), k=2), ig.Moments(4)
    scan.update(change(rows), range(4))
    moments.update(change(rows))
    assert np.array_equal(scan.result().ids, np.argsort(-rows, axis=0)[:2].T)
    assert moments.mean == pytest.approx(rows.mean(axis=0), rel=1e-5)
    with pytest.raises(InputError, match="it must be of numbers"):
        scan.update(rows.astype(object), range(4))


def test_a_block_of_another_width_is_refused():
    with pytest.raises(InputError, match=r"\(n, 4\)"):
        ig.TopK(ig.Directions.natural(4)).update(rows_of(3, 5), np.arange(3))


def test_the_smallest_projections_are_there_only_when_asked_for():
    with pytest.raises(InputError, match="both=True"):
        ig.TopK(ig.Directions.natural(4)).result(-1)


def test_the_canonical_value_does_not_depend_on_its_neighbours():
    rows, columns = torch.tensor(rows_of(50, 37)), torch.tensor(rows_of(50, 37, 1))
    together = canonical_projection(rows, columns)
    alone = torch.cat([canonical_projection(rows[i : i + 1], columns[i : i + 1]) for i in range(50)])
    assert torch.equal(together, alone)
    assert torch.allclose(together.double(), (rows.double() * columns.double()).sum(1), rtol=1e-7)


def test_the_state_stays_small():
    scan = scan_of(rows_of(3000, 8), ig.Directions.gaussian(8, 512), np.arange(3000))
    assert scan.nbytes() < 1_000_000


def test_a_number_in_place_of_directions_is_refused():
    with pytest.raises(InputError, match=r"directions is 8; build it with a method of ig\.Directions"):
        ig.TopK(8)
