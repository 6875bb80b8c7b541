"""One file stays below its largest size, whatever a run holds."""

import math

import pytest
from markupsafe import Markup

from intriguing.report import page, room
from intriguing.report.attachments import Attachment
from intriguing.report.parts import PagePart
from intriguing.report.room import Explorer, fewer_of, finished, rendered, shortened, size_of
from intriguing.sweep.reporting.page import write_report, write_site
from tests.pages import words_of
from tests.synthetic_run import images


def of_size(slug, text, data=0):
    return PagePart(slug, slug, Markup("x" * text), (Attachment(f"{slug}-0", b"y" * data),) if data else ())


def explorer(slug, most, asked):
    """One that takes all that it may, and notes how much that was."""

    def make(most_bytes):
        asked[slug] = most_bytes
        return of_size(slug, 0, int(min(most_bytes, most) * 3 / 4))

    return Explorer(slug, most, make)


def test_explorers_have_what_they_want_where_there_is_room():
    asked = {}
    parts = [explorer("a", 4e6, asked), of_size("b", 1000), explorer("c", 6e6, asked)]
    assert [part.slug for part in finished(parts, whole=False)] == ["a", "b", "c"]
    assert asked == {"a": 4e6, "c": 6e6}


def test_explorers_share_what_the_other_parts_leave():
    asked = {}
    parts = [explorer("a", 4e6, asked), of_size("b", 9_000_000), explorer("c", 8e6, asked)]
    made = finished(parts, whole=False)
    assert sum(map(size_of, made)) < room.LARGEST
    assert asked["c"] / asked["a"] == pytest.approx(2, rel=0.01)
    assert sum(asked.values()) == pytest.approx(room.LARGEST - 9_250_000, rel=0.01)


def test_the_folder_form_has_no_limit_and_an_explorer_with_nothing_to_show_is_no_part():
    asked = {}
    parts = [explorer("a", 4e6, asked), of_size("b", 99_000_000), Explorer("c", 1e6, lambda most: None)]
    assert [part.slug for part in finished(parts, whole=True)] == ["a", "b"]
    assert asked == {"a": math.inf}


def test_the_largest_texts_give_way_to_a_sentence_and_no_more_of_them_than_needed():
    parts = [of_size("a", 900), of_size("b", 50_000), of_size("c", 70_000, 3_000), of_size("d", 600, 90_000)]
    kept = shortened(parts, 60_000)
    assert [part.html == old.html for part, old in zip(kept, parts, strict=True)] == [True, True, False, True]
    assert "one file has no room" in kept[2].html
    assert not kept[2].attachments
    assert sum(map(size_of, kept)) <= sum(map(size_of, parts)) - 60_000
    assert shortened([of_size("a", 10)], 5)[0].html == "x" * 10  # nothing is shorter than the sentence
    as_long = of_size("a", size_of(shortened([of_size("a", 50_000)], 1)[0]))
    assert shortened([as_long], 5) == [as_long]  # and what is as long gains nothing


def test_the_fullest_version_that_fits_is_taken():
    versions = [{"said": "s" * n} for n in (3_000, 2_000, 1_000)]
    assert "s" * 2_000 in rendered("report/templates/no_room.html", 2_500, versions)
    assert "s" * 3_000 not in rendered("report/templates/no_room.html", 2_500, versions)
    assert "s" * 1_000 in rendered("report/templates/no_room.html", 10, versions)
    exactly = len(rendered("report/templates/no_room.html", 9_999, versions[1:]).encode())
    assert "s" * 2_000 in rendered("report/templates/no_room.html", exactly, versions)
    assert "s" * 2_000 not in rendered("report/templates/no_room.html", exactly - 1, versions)
    assert fewer_of(range(9)) == [4, 2, 1]
    assert fewer_of([1]) == []


def test_a_page_that_would_be_too_large_is_cut_and_says_what_it_leaves_out(small, monkeypatch, tmp_path):
    small.write()
    whole = len(write_report(small.root, images=images).read_bytes())
    for largest in (whole - 1_000, whole * 2 // 3):
        monkeypatch.setattr(room, "LARGEST", largest)
        monkeypatch.setattr(page, "LARGEST", largest)
        written = write_report(small.root, images=images)
        assert len(written.read_bytes()) < largest + 1_000  # the seal
        assert "writes everything" in words_of(small.root, images)
    site = write_site(small.root, tmp_path / "site", images=images)
    assert "one file has no room" not in site.read_text()
