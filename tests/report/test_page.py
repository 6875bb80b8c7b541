"""The page as a whole: one file that needs nothing, reads well, and goes where it is told."""

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from intriguing import open_run
from intriguing.errors import InputError, StoreError
from intriguing.report import Context
from intriguing.stages import STAGES
from intriguing.sweep.report import write_report
from tests.pages import Document
from tests.synthetic_run import NASTY, images


def test_the_page_is_well_formed_and_its_ids_are_unique(document):
    assert document.faults == []
    ids = Counter(attributes["id"] for _, attributes in document.elements if "id" in attributes)
    assert [name for name, n in ids.items() if n > 1 and not re.fullmatch(r"[mp][0-9a-f]{10}", name)] == []


def test_the_page_needs_no_network_and_runs_no_scripts(document, html):
    assert document.all("script") == []
    addresses = [a[k] for _, a in document.elements for k in ("src", "href", "xlink:href") if k in a]
    assert len(addresses) > 100
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)


def test_names_of_any_characters_are_escaped(document, html):
    assert "<script>" not in html
    assert NASTY in document.words
    assert '<b>"second"' not in html
    assert '<b>"second"</b>' in document.words
    assert 'a/b "<i>' in document.words


def test_every_picture_and_figure_has_a_text_alternative(document):
    assert all(len(attributes["alt"]) > 10 for attributes in document.all("img"))
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 10 for attributes in document.all("svg"))
    assert len(document.all("svg")) >= 4


def test_the_contents_link_to_every_section(document, html):
    contents = Document(html[html.index("<nav") : html.index("</nav>")])
    links = [a["href"][1:] for a in contents.all("a")]
    assert links == [section["id"] for section in document.all("section")]
    assert links == ["verdicts", "overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]


def test_the_page_opens_with_what_the_run_answers(document, html):
    sections = [section["id"] for section in document.all("section")]
    assert sections[0] == "verdicts"
    opening = html[html.index('id="verdicts"') : html.index('id="overview"')]
    answers = re.findall(r"<li>.*?</li>", opening, re.DOTALL)
    assert len(answers) >= 3
    for answer in answers:
        sentence = re.search(r'class="said">(.*?)</p>', answer)[1]
        assert len(re.findall(r"\d[\d,.]*", sentence)) <= 3
        assert re.search(r'class="value">[^<]*\d', answer)
        assert re.search(r'href="#([a-z-]+)"', answer)[1] in sections
        assert "It would have been refuted by " in answer


def test_headers_of_tables_have_a_scope(document):
    assert all("scope" in attributes for attributes in document.all("th"))


def test_the_page_follows_light_and_dark(html):
    assert "prefers-color-scheme: dark" in html
    assert "currentColor" in html
    assert "var(--accent)" in html.split("</style>", 1)[1]
    assert "#0708" not in html


def test_the_same_run_gives_the_same_page(small):
    first = write_report(small.write()).read_text()
    assert write_report(small.root).read_text() == first


def test_models_with_several_seeds_are_told_apart(document):
    assert "007#1" in document.words
    assert "007#2" in document.words


def test_without_images_the_page_says_so(small):
    document = Document(write_report(small.write("plan", "topk", "searched")).read_text())
    assert document.all("img") == []
    assert document.words.count("written from the run's tables alone, without its data") == 2


def test_images_are_asked_for_by_data_set_and_id(small):
    asked = []

    def recorded(dataset, ids):
        asked.append((dataset, ids.dtype, len(set(ids.tolist())) == len(ids)))
        return images(dataset, ids)

    write_report(small.write("plan", "topk", "searched"), images=recorded)
    assert asked
    assert set(asked) == {("glyphs", np.dtype(np.int64), True)}


@pytest.mark.parametrize(
    "bad", [lambda d, ids: np.zeros((len(ids), 28, 28)), lambda d, ids: np.zeros((1, 1, 28, 28), int)]
)
def test_images_of_another_form_are_refused(small, bad):
    small.write("plan", "topk")
    with pytest.raises(InputError, match=r"images\(\) gave"):
        write_report(small.root, images=bad)


def test_colour_images_and_large_ones_are_shown(small):
    def photos(dataset, ids):
        return np.random.default_rng(0).uniform(0, 1, (len(ids), 3, 224, 200)).astype(np.float32)

    small.write("plan", "topk")
    html = write_report(small.root, images=photos).read_text()
    assert html.count("data:image/jpeg") == 2 * 2 * 64
    assert len(html) < 4_000_000


def test_the_page_goes_where_it_is_told_else_into_the_run(small, tmp_path):
    small.write("plan")
    assert write_report(small.root) == small.root / "report.html"
    assert write_report(str(small.root), tmp_path / "a" / "b.html") == tmp_path / "a" / "b.html"
    assert write_report(open_run(small.root), tmp_path / "c.html").exists()
    assert sorted(p.name for p in small.root.iterdir()) == ["plan.json", "report.html"]


def test_a_page_that_cannot_be_written_is_explained(small, tmp_path):
    small.write("plan")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Choose another file with out="):
        write_report(small.root, tmp_path / "file" / "report.html")


def test_a_run_on_an_object_store_needs_a_place_for_its_page(small):
    small.write("plan")
    with pytest.raises(InputError, match="out='report.html'"):
        write_report(small.root.as_uri())


def test_parts_are_independent_of_each_other(small):
    context = Context(open_run(small.write()))
    alone = [stage.page_parts(context) for stage in reversed(STAGES)]
    slugs = [part.slug for parts in reversed(alone) for part in parts]
    assert slugs == ["overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]


def test_writing_a_report_imports_neither_torch_nor_ray(small):
    small.write("plan")
    code = (
        "import sys; from intriguing.sweep.report import write_report; write_report(sys.argv[1]);"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code, str(small.root)], check=True)
