"""The page as a whole: one file that needs nothing, reads well, and goes where it is told."""

import base64
import hashlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from intriguing import open_run
from intriguing.errors import InputError, StoreError
from intriguing.report import Context, Verdict, said_once
from intriguing.report.drawing import colours
from intriguing.report.media import for_paper
from intriguing.stages import STAGES
from intriguing.sweep.reporting.page import write_report
from tests.pages import Document, about, contrast, sheet
from tests.synthetic_run import NASTY, SyntheticRun, images


def test_the_page_is_well_formed_and_its_ids_are_unique(document):
    assert document.faults == []
    ids = Counter(attributes["id"] for _, attributes in document.elements if "id" in attributes)
    assert [name for name, n in ids.items() if n > 1 and not re.fullmatch(r"[mp][0-9a-f]{10}", name)] == []


def test_the_page_needs_no_network_and_runs_its_own_script_alone(document, html):
    kinds = [attributes.get("type") for attributes in document.all("script")]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "text/plain", "application/json"}
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for a in document.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    addresses = [a[k] for _, a in document.elements for k in ("src", "href", "xlink:href") if k in a]
    assert len(addresses) > 10
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)


def test_names_of_any_characters_are_escaped(document, html):
    assert "<script>alert" not in html
    assert NASTY in document.words
    assert '<b>"second"' not in html
    assert '<b>"second"</b>' in document.words
    assert any('a/b "<i>' in layer["name"] for layer in about(html, "units")["layers"])


def test_every_picture_and_figure_has_a_text_alternative(document):
    assert all(len(attributes["alt"]) > 10 for attributes in document.all("img"))
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 10 for attributes in document.all("svg"))
    assert len(document.all("svg")) >= 4


def test_the_contents_link_to_every_section(document, html):
    contents = Document(html[html.index("<nav") : html.index("</nav>")])
    links = [a["href"][1:] for a in contents.all("a")]
    assert links == [section["id"] for section in document.all("section")]
    shown = ["left-out", "overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]
    assert links == ["verdicts", *shown, "glossary"]


def test_the_page_opens_with_what_the_run_answers(document, html):
    sections = [section["id"] for section in document.all("section")]
    assert sections[0] == "verdicts"
    opening = html[html.index('id="verdicts"') : html.index('id="left-out"')]
    answers = re.findall(r"<li>.*?</li>", opening, re.DOTALL)
    assert len(answers) >= 3
    for answer in answers:
        sentence = re.search(r'class="said">(.*?)</p>', answer)[1]
        assert len(re.findall(r"\d[\d,.]*", sentence)) <= 3
        assert re.search(r'class="value">[^<]*\d', answer)
        assert re.search(r'href="#([a-z-]+)"', answer)[1] in sections
        assert "It would have been refuted by " in answer


def test_a_short_name_stands_in_one_line(tmp_path):
    run = SyntheticRun(tmp_path / "run", models=("FC10(1e-4)", "n" * 40), layers=("hidden",))
    run.write("plan", "examples", "model_rows")
    html = Path(write_report(run.root)).read_text()
    assert '<th scope="row" class="short">FC10(1e-4)</th>' in html and f'<th scope="row">{"n" * 40}</th>' in html


def test_answers_of_one_sentence_are_one_card_with_the_figures_of_all():
    best = Verdict("It is so.", "size (best)", "0.1", "0.05 to 0.2", "part", "another", "What it means.")
    faithful = replace(best, measure="size (faithful)", value="0.3", interval="")
    other = replace(best, sentence="It is not so.")
    first, second = said_once([best, other, faithful])
    assert (first.sentence, first.figure) == (best.sentence, "size (best): 0.1 (0.05 to 0.2)")
    assert first.also == (faithful,) and second == other
    assert "likewise, size (faithful): 0.3" in first.text() and "likewise" not in second.text()


def test_no_sentence_has_more_than_three_numbers(invented_run, html):
    known = re.compile(r"\[0, 1\]|95 %|5 % to 95 %|(?<=\w)\d+|#\d+")
    html = re.sub(r'<p><span class="value">.*?</p>', "", html)  # a verdict's figure and its interval
    texts = re.findall(
        r"<(?:p|li|dd|figcaption|summary)\b[^>]*>(.*?)</(?:p|li|dd|figcaption|summary)>", html, re.DOTALL
    )
    assert len(texts) > 50
    for text in texts:
        plain = known.sub("", unescape(re.sub(r"<[^>]+>", " ", text)))
        for sentence in re.split(r"(?<=[.:;])\s", plain):
            numbers = re.findall(r"\d[\d.,\u202f]*", sentence)
            assert len(numbers) <= 3, sentence


def test_every_word_that_needs_it_is_in_the_glossary(document):

    for word in ("live", "random_init", "shuffled labels", "purity", "kurtosis", "dose", "distortion", "penalty"):
        assert re.search(rf"\b{word} [A-Z0-9]", document.words.split("The words of this page")[-1]), word


def test_headers_of_tables_have_a_scope(document):
    assert all("scope" in attributes for attributes in document.all("th"))


def test_the_page_follows_light_and_dark(html):
    assert "prefers-color-scheme: dark" in html
    assert "currentColor" in html
    assert "var(--accent)" in html.split("</style>", 1)[1]
    assert "#0708" not in html


def test_headings_never_skip_a_level_and_every_control_has_a_name(document):
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert document.all("html")[0]["lang"] == "en"
    assert not [a for tag in ("input", "select", "textarea") for a in document.all(tag) if "aria-label" not in a]
    titles = {a["aria-labelledby"] for a in document.all("section")}
    assert titles <= {a.get("id") for a in document.all("h2")}


def rgb(text):
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


def test_marks_of_figures_for_papers_have_a_contrast_of_at_least_3():
    seen = []
    for_paper(lambda: seen.append(colours()) or Figure())
    [paper] = seen
    assert min(contrast(rgb(mark), rgb(paper.paper)) for mark in (paper.natural, paper.random)) >= 3


def test_text_has_a_contrast_of_at_least_4_5_and_marks_of_3_in_light_in_dark_and_on_paper(html):
    for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL):
        named = dict(re.findall(r"--([\w-]+): ([^;]+);", block))
        of = {name: rgb(value) for name, value in named.items() if re.fullmatch(r"#[0-9a-f]{6}", value)}
        for ink in ("ink", "muted", "accent", "bad"):
            assert min(contrast(of[ink], of[on]) for on in ("bg", "panel", "tile")) >= 4.5, ink
        assert contrast(of["bad"], of["bad-bg"]) >= 4.5
        for mark in ("accent", "second"):  # bars, lines and dots; WCAG 2.2, criterion 1.4.11
            assert min(contrast(of[mark], of[on]) for on in ("bg", "panel", "tile", "rule")) >= 3, mark
        heat, most = np.array(named["heat"].split(), float), float(named["heat-most"])
        deep = of.get("heat-ink", of["ink"])
        for p in np.linspace(0, 1, 101):  # a cell of a matrix is called deep from 0.55, 0.7 or 0.75 on
            cell = heat * (0.05 + most * p) + np.array(of["bg"]) * (0.95 - most * p)
            assert p > 0.75 or contrast(of["ink"], cell) >= 4.5
            assert p < 0.55 or contrast(deep, cell) >= 4.5
    assert len(re.findall(r":root \{", html)) == 3


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
    made = about(html, "units")["images"]["glyphs"]
    assert (made["width"], made["height"]) == (86, 96)
    assert made["size"] == [224, 200]
    assert sheet(html, made["names"][0]).size == (16 * 86, 96 * -(-made["count"] // 16))
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
    with pytest.raises(StoreError, match="Say where else to write the page: .*--out page.html"):
        write_report(small.root, tmp_path / "file" / "report.html")


def test_a_run_on_an_object_store_needs_a_place_for_its_page(small):
    small.write("plan")
    with pytest.raises(InputError, match="out='report.html'"):
        write_report(small.root.as_uri())


def test_parts_are_independent_of_each_other(small):
    context = Context(open_run(small.write()))
    alone = [stage.page_parts(context) for stage in reversed(STAGES)]
    slugs = [part.slug for parts in reversed(alone) for part in parts]
    shown = ["left-out", "overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]
    assert slugs == shown


def test_writing_a_report_imports_neither_torch_nor_ray(small):
    small.write("plan")
    code = (
        "import sys; from intriguing.sweep.reporting.page import write_report; write_report(sys.argv[1]);"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code, str(small.root)], check=True)
