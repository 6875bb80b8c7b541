import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.errors import InputError
from intriguing.stages.common.stored_images import StoredImages, gathered


def table(images, shapes=None):
    """A table `adversarial` of these images, named by their numbers."""
    shapes = [list(image.shape) for image in images] if shapes is None else shapes
    return pa.table(
        {
            "search_id": pa.array([str(i) for i in range(len(images))], pa.string()),
            "shape": pa.array(shapes, pa.list_(pa.int32())),
            "image": pa.array([image.ravel() for image in images], pa.list_(pa.float32())),
        }
    )


def pictures(count, shape=(2, 3, 5)):
    return np.random.default_rng(count).uniform(size=(count, *shape)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 12), cuts=st.lists(st.integers(0, 12), max_size=4), data=st.data())
def test_images_come_in_the_order_asked_for_however_the_table_is_cut(count, cuts, data):
    images = pictures(count)
    ends = sorted({0, count, *(c for c in cuts if c < count)})
    pieces = [table(images).slice(start, stop - start) for start, stop in itertools.pairwise(ends)]
    wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=15))
    stored = StoredImages(pa.concat_tables(pieces))
    assert stored.shape == (2, 3, 5)
    assert stored.names == [str(i) for i in range(count)]
    got = stored.stack([str(i) for i in wanted])
    assert got.dtype == np.float32
    assert np.array_equal(got, images[wanted])


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 9), step=st.integers(1, 10), data=st.data())
def test_images_are_gathered_out_of_tables_that_come_one_by_one(count, step, data):
    images, names = pictures(count), [str(i) for i in range(count)]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True))
    tables = (table(images).slice(start, step) for start in range(0, count, step))
    assert np.array_equal(gathered(tables, chosen, (2, 3, 5)), images[[int(name) for name in chosen]])


def test_what_cannot_be_gathered_is_named():
    with pytest.raises(InputError, match=r"Search '7' has no stored image \(2 of 3 lack one\)"):
        gathered([table(pictures(3))], ["0", "7", "9"], (2, 3, 5))
    with pytest.raises(InputError, match=r"Stored images of shape \(2, 3, 5\) for a data set of \(1, 3, 5\)"):
        gathered([table(pictures(3))], ["0"], (1, 3, 5))


def test_an_empty_table_has_no_shape_and_no_images():
    stored = StoredImages(table([]))
    assert stored.shape == ()
    assert len(stored.stack([])) == 0


def test_a_search_without_an_image_is_named():
    with pytest.raises(InputError, match=r"Search '7' has no stored image \(2 of 3 lack one\)"):
        StoredImages(table(pictures(3))).stack(["0", "7", "9"])


@pytest.mark.parametrize("odd", [(4, 2, 2), (16,), (1, 2, 8)])
def test_images_of_different_shapes_are_refused(odd):
    images = [*pictures(2, (1, 4, 4)), *pictures(1, odd)]
    with pytest.raises(InputError, match=r"have the shapes .* and .*: images of one shape are needed"):
        StoredImages(table(images))


def test_pixels_that_do_not_fill_the_shape_are_refused():
    with pytest.raises(InputError, match="15 pixels where its shape has 16"):
        StoredImages(table(pictures(2, (1, 3, 5)), [[1, 4, 4]] * 2))


def test_images_are_read_where_they_lie():
    rows = table(pictures(4))
    stored = StoredImages(rows)
    assert np.shares_memory(stored._chunks[0], rows["image"].chunks[0].values.to_numpy())
