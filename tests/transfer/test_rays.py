"""Rays through changed images: exact sizes in the box, the first crossing, and rays that never fool."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.errors import InputError
from intriguing.transfer import rays as module
from intriguing.transfer.rays import RESOLUTION, Rays, follow

SIZES = [0.02, 0.05, 0.1, 0.2, 0.3]


def rms(change):
    return np.sqrt((change.astype(np.float64) ** 2).reshape(len(change), -1).mean(axis=1))


def some_rays(count=6, seed=0, spread=0.05):
    rng = np.random.default_rng(seed)
    clean = np.where(
        rng.random((count, 1, 9, 9)) < 0.6, rng.integers(0, 2, (count, 1, 9, 9)), rng.random(81).reshape(9, 9)
    )
    changed = np.clip(clean + rng.normal(0, spread, clean.shape), 0, 1)
    return clean.astype(np.float32), changed.astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), size=st.floats(0.001, 0.9))
def test_points_have_the_size_asked_for_after_clipping_or_lie_at_the_end(seed, size):
    clean, changed = some_rays(seed=seed)
    rays = Rays(clean, changed)
    every = np.arange(len(rays))
    scales = rays.scales(every, [size])[0]
    images = rays.images(every, scales)
    assert (images >= 0).all() and (images <= 1).all()
    moved = rms(images - clean)
    np.testing.assert_allclose(moved, rays.rms(every, scales), rtol=1e-5)
    # The end: each value that changes at a side of the box.
    end = rms(np.where(changed == clean, 0, np.where(changed > clean, 1 - clean, clean)))
    np.testing.assert_allclose(moved, np.minimum(size, end), rtol=1e-4)


def test_the_point_of_its_own_size_is_the_changed_image():
    clean, changed = some_rays()
    rays = Rays(clean, changed)
    for i, own in enumerate(rms(changed - clean)):
        row = np.array([i])
        np.testing.assert_allclose(rays.images(row, rays.scales(row, [own])[0]), changed[row], atol=1e-6)


def test_a_ray_does_not_depend_on_its_company():
    clean, changed = some_rays(40)
    together, alone = Rays(clean, changed), Rays(clean[7:8], changed[7:8])
    first = np.array([0])
    scales = alone.scales(first, SIZES)
    assert np.array_equal(together.scales(np.arange(40), SIZES)[:, 7], scales[:, 0])
    assert np.array_equal(together.images(np.array([7]), scales[3]), alone.images(first, scales[3]))


@pytest.mark.parametrize("fed", [1, 81 * 70])
def test_few_points_are_fed_at_a_time_with_the_same_answers(monkeypatch, fed):
    clean, changed = some_rays(150)
    labels, sizes = np.zeros(150, np.int64), []

    def answer(images):
        sizes.append(len(images))
        return (rms(images - images.round()) > 0.03).astype(np.int64)

    whole = follow(Rays(clean, changed), SIZES, labels, labels, answer)
    assert max(sizes) == 150
    sizes.clear()
    monkeypatch.setattr(module, "_FED", fed)
    parts = follow(Rays(clean, changed), SIZES, labels, labels, answer)
    assert max(sizes) == (32 if fed == 1 else 64)
    for name in ("rms", "predictions", "crossing", "right_below", "passes"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def by_size(clean, wrong_at):
    """A network that is wrong exactly where the RMS of the change satisfies `wrong_at`; it counts what it is fed."""
    fed = []

    def answer(images):
        match = [np.abs(images[i] - clean).reshape(len(clean), -1).sum(1).argmin() for i in range(len(images))]
        fed.append(len(images))
        return wrong_at(rms(images - clean[match])).astype(np.int64)

    return answer, fed


def test_the_crossing_is_found_within_the_resolution_and_about_ten_passes_beyond_the_grid():
    clean, changed = some_rays(20, spread=0.01)
    answer, fed = by_size(clean, lambda size: size > 0.0437)
    found = follow(Rays(clean, changed), SIZES, np.zeros(20), np.zeros(20), answer)
    assert (found.status == "crossed").all()
    assert ((found.right_below <= 0.0437 * (1 + 1e-4)) & (found.crossing > 0.0437)).all()
    assert (found.crossing - found.right_below <= RESOLUTION * found.crossing).all()
    assert np.array_equal(found.predictions, np.array(SIZES)[:, None] > 0.0437 + np.zeros(20))
    assert sum(fed) == found.passes.sum()
    assert found.passes.max() <= len(SIZES) + 10


def test_a_crossing_near_an_end_that_one_value_draws_out_is_found_within_the_resolution_too():
    clean = np.zeros((1, 1, 1, 20), np.float32)
    changed = np.full_like(clean, 0.1)
    changed[..., 0] = 1e-7
    for limit in (0.05, 0.9, 0.95):
        answer, _ = by_size(clean, lambda size, limit=limit: size > limit)
        found = follow(Rays(clean, changed), SIZES, np.zeros(1), np.zeros(1), answer)
        assert found.right_below <= limit * (1 + 1e-4) and found.crossing > limit
        assert found.crossing - found.right_below <= RESOLUTION * found.crossing


def test_where_errors_are_not_monotone_the_first_crossing_on_the_grid_is_taken():
    clean, changed = some_rays(4, spread=0.01)
    # Wrong in a slab, right behind it, wrong again: the crossing is the slab's near side.
    answer, _ = by_size(clean, lambda size: ((size > 0.08) & (size < 0.12)) | (size > 0.25))
    found = follow(Rays(clean, changed), SIZES, np.zeros(4), np.zeros(4), answer)
    assert found.predictions[:, 0].tolist() == [0, 0, 1, 0, 1]
    np.testing.assert_allclose(found.crossing, 0.08, rtol=0.02)
    # A slab that lies between two sizes of the grid is not seen, which the module says.
    answer, _ = by_size(clean, lambda size: ((size > 0.06) & (size < 0.07)) | (size > 0.25))
    found = follow(Rays(clean, changed), SIZES, np.zeros(4), np.zeros(4), answer)
    np.testing.assert_allclose(found.crossing, 0.25, rtol=0.02)


def test_a_ray_is_followed_beyond_the_grid_to_its_end():
    clean, changed = some_rays(12, spread=0.01)
    rays = Rays(clean, changed)
    every = np.arange(12)
    ends = rays.rms(every, rays.scales(every, [1.0])[0])
    assert (ends > 0.4).all()
    answer, _ = by_size(clean, lambda size: size > 0.41)
    far = follow(rays, SIZES, np.zeros(12), np.zeros(12), answer)
    np.testing.assert_allclose(far.crossing, 0.41, rtol=0.02)
    answer, _ = by_size(clean, lambda size: size > ends.max() + 1)
    never = follow(rays, SIZES, np.zeros(12), np.zeros(12), answer)
    assert (never.status == "never").all()
    assert np.isnan(never.crossing).all()
    assert never.passes.max() <= len(SIZES) + 4


def test_a_ray_that_ends_before_the_first_size_is_fed_at_its_end_and_says_so():
    clean = np.full((1, 1, 10, 10), 1.0, np.float32)
    changed = clean.copy()
    clean[0, 0, 0, 0], changed[0, 0, 0, 0] = 0.95, 0.97
    found = follow(Rays(clean, changed), [0.02, 0.1], np.zeros(1), np.zeros(1), lambda images: np.zeros(len(images)))
    np.testing.assert_allclose(found.rms, 0.005, rtol=1e-4)
    assert found.status.tolist() == ["never"]


def test_images_that_the_network_gets_wrong_have_no_crossing():
    clean, changed = some_rays(3)
    found = follow(Rays(clean, changed), SIZES, np.zeros(3), np.array([0, 1, 0]), lambda images: np.ones(len(images)))
    assert found.status.tolist() == ["crossed", "wrong_before", "crossed"]
    assert np.isnan(found.crossing).tolist() == [False, True, False]


def test_no_rays_are_followed_to_no_end():
    empty = np.zeros((0, 1, 2, 2), np.float32)
    found = follow(Rays(empty, empty), SIZES, np.zeros(0), np.zeros(0), lambda images: np.zeros(len(images)))
    assert found.predictions.shape == found.rms.shape == (5, 0)
    assert len(found.status) == 0


def test_an_image_that_did_not_change_and_one_outside_the_box_are_refused():
    clean, changed = some_rays(3)
    with pytest.raises(InputError, match="no ray leads through both"):
        Rays(clean, np.concatenate([changed[:2], clean[2:]]))
    with pytest.raises(InputError, match="leave the box"):
        Rays(clean, changed + 1)
