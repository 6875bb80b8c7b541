import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.transfer import amplify, gaussian_noise


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.3, 0.7, (5, 1, 28, 28)).astype(np.float32)
    return clean, np.clip(clean + rng.normal(0, 0.01, clean.shape), 0, 1).astype(np.float32)


def rms(change):
    return np.sqrt((change.astype(np.float64) ** 2).reshape(len(change), -1).mean(axis=1))


def test_amplified_perturbations_have_the_rms_asked_for_and_not_a_28th_of_it(pairs):
    clean, adversarial = pairs
    images, after, clipped = amplify(clean, adversarial, 0.05)
    np.testing.assert_allclose(rms(images - clean), 0.05, rtol=1e-5)
    np.testing.assert_allclose(after, 0.05, rtol=1e-5)
    assert (clipped == 0).all()
    assert images.dtype == np.float32
    assert images.shape == clean.shape


def test_amplifying_keeps_the_direction(pairs):
    clean, adversarial = pairs
    change = (amplify(clean, adversarial, 0.05).images - clean).reshape(5, -1).astype(np.float64)
    direction = (adversarial - clean).reshape(5, -1).astype(np.float64)
    cosine = (change * direction).sum(1) / np.linalg.norm(change, axis=1) / np.linalg.norm(direction, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-8)


def test_amplifying_to_its_own_rms_gives_the_adversarial_image_back(pairs):
    clean, adversarial = pairs
    np.testing.assert_allclose(amplify(clean, adversarial, rms(adversarial - clean)).images, adversarial, atol=1e-6)


def test_clipping_comes_after_and_is_reported():
    clean = np.zeros((1, 1, 2, 2))
    adversarial = np.array([[[[0.2, 0.0], [0.0, 0.1]]]])
    images, after, clipped = amplify(clean, adversarial, 1.0)
    # Unclipped, the change is (0.2, 0.1) * 2 / ||(0.2, 0.1)|| = (1.789, 0.894): one number of four leaves the box.
    np.testing.assert_allclose(images.ravel(), [1, 0, 0, 2 / np.sqrt(5)], rtol=1e-6)
    assert clipped.tolist() == [0.25]
    np.testing.assert_allclose(after, np.sqrt((1 + 0.8) / 4), rtol=1e-6)


def test_a_tiny_perturbation_is_amplified_without_underflow():
    images, after, _ = amplify(np.zeros((1, 4)), [[1e-300, 0, 0, 0]], 0.25)
    np.testing.assert_allclose(images, [[0.5, 0, 0, 0]])
    np.testing.assert_allclose(after, 0.25)


def test_an_adversarial_image_equal_to_the_clean_one_is_refused(pairs):
    clean, adversarial = pairs
    adversarial[3] = clean[3]
    with pytest.raises(InputError, match=r"rows \[3\].*status 'found'"):
        amplify(clean, adversarial, 0.1)


@pytest.mark.parametrize("size", [0.0, -0.1, float("nan"), [0.1, 0.1]])
def test_an_impossible_rms_is_refused(pairs, size):
    with pytest.raises(InputError, match="RMS"):
        amplify(*pairs, size)


@pytest.mark.parametrize("bad", [2.0, float("nan"), -0.01])
def test_images_outside_the_box_are_refused(pairs, bad):
    clean, adversarial = pairs
    adversarial[0, 0, 0, 0] = bad
    with pytest.raises(InputError, match="adversarial images hold values outside"):
        amplify(clean, adversarial, 0.1)


def test_images_of_different_shapes_are_refused(pairs):
    with pytest.raises(InputError, match="give pairs"):
        amplify(pairs[0], pairs[1][:2], 0.1)


def test_noise_has_exactly_the_rms_of_each_image_before_clipping():
    clean = np.full((3, 1, 28, 28), 0.5)
    images, after, clipped = gaussian_noise(clean, [0.01, 0.05, 0.08], seed=1, ids=[4, 5, 6])
    np.testing.assert_allclose(rms(images - clean), [0.01, 0.05, 0.08], rtol=1e-6)
    np.testing.assert_allclose(after, [0.01, 0.05, 0.08], rtol=1e-6)
    assert (clipped == 0).all()


def test_noise_looks_gaussian():
    from scipy import stats

    noise = gaussian_noise(np.full((1, 40_000), 0.5), 0.05, seed=1, ids=[0]).images - 0.5
    assert stats.kstest(noise.ravel() / 0.05, "norm").pvalue > 0.01


def test_noise_on_black_pixels_loses_half_its_numbers_to_clipping_and_says_so():
    _, after, clipped = gaussian_noise(np.zeros((1, 1, 50, 50)), 0.1, seed=1, ids=[0])
    assert 0.45 < clipped[0] < 0.55
    np.testing.assert_allclose(after, 0.1 / np.sqrt(2), rtol=0.05)


def test_noise_can_be_made_larger_by_what_clipping_takes():
    clean = np.random.default_rng(0).integers(0, 2, (3, 1, 28, 28)).astype(np.float32)
    sizes = np.array([0.02, 0.1, 0.3])
    noisy = gaussian_noise(clean, sizes, 0, [1, 2, 3], after_clipping=True)
    assert np.allclose(noisy.rms_after, sizes, rtol=1e-5)
    assert (noisy.images >= 0).all() and (noisy.images <= 1).all()
    alone = gaussian_noise(clean[2:], sizes[2], 0, [3], after_clipping=True)
    assert np.array_equal(alone.images[0], noisy.images[2])


def test_noise_that_the_box_has_no_room_for_is_as_large_as_it_can_be():
    clean = np.full((2, 1, 28, 28), 0.5)
    noisy = gaussian_noise(clean, [0.7, 0.49], 0, [1, 2], after_clipping=True)
    assert 0.49 < noisy.rms_after[0] <= 0.5
    np.testing.assert_allclose(noisy.rms_after[1], 0.49, rtol=1e-5)


def test_noise_depends_on_the_id_and_not_on_the_batch():
    clean = np.random.default_rng(0).uniform(0, 1, (6, 3, 4, 4))
    together = gaussian_noise(clean, 0.1, seed=1, ids=np.arange(6)).images
    alone = [gaussian_noise(clean[i : i + 1], 0.1, seed=1, ids=[i]).images[0] for i in reversed(range(6))]
    assert np.array_equal(together, np.stack(alone[::-1]))
    assert not np.array_equal(together, gaussian_noise(clean, 0.1, seed=2, ids=np.arange(6)).images)
    assert not np.array_equal(together, gaussian_noise(clean, 0.1, seed=1, ids=np.arange(1, 7)).images)


def test_noise_of_rms_zero_is_the_clean_image():
    clean = np.random.default_rng(0).uniform(0, 1, (2, 3, 4, 4)).astype(np.float32)
    images, after, _ = gaussian_noise(clean, 0, seed=1, ids=["a", "b"])
    assert np.array_equal(images, clean)
    assert (after == 0).all()


def test_noise_needs_an_id_per_image():
    with pytest.raises(InputError, match="2 ids for 1 images"):
        gaussian_noise(np.zeros((1, 4)), 0.1, seed=1, ids=[1, 2])


def test_an_empty_batch_gives_an_empty_batch():
    images, after, clipped = gaussian_noise(np.zeros((0, 1, 4, 4)), 0.1, seed=1, ids=[])
    assert images.shape == (0, 1, 4, 4)
    assert after.shape == clipped.shape == (0,)
    assert amplify(np.zeros((0, 4)), np.zeros((0, 4)), 0.1).images.shape == (0, 4)
