"""The page in a browser: no message, no request, and everything that can be clicked; skipped without a Chromium."""

import pytest

from intriguing.sweep.reporting.page import write_report, write_site
from tests.browser import Browser, chromium
from tests.pages import contrast
from tests.synthetic_run import NASTY, SyntheticRun, images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs a Chromium"),
]
LONG = "n" * 290 + '"<b>'


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run of two models with names that hurt, and rays."""
    writer = SyntheticRun(tmp_path_factory.mktemp("runs") / "run", models=("007", NASTY), layers=("hidden", LONG))
    return writer.write()


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    return write_report(root, tmp_path_factory.mktemp("pages") / "report.html", images)


def drawn(browser):
    """Scroll to both explorers, and wait until they are drawn."""
    for name, tile in (("units", ".tile"), ("searches", ".card")):
        browser.do(f"document.getElementById('{name}-explorer').scrollIntoView()")
        browser.until(f"document.querySelector('#{name}-explorer {tile}')")


def is_quiet(browser, page):
    return not browser.messages and {r for r in browser.requests if not r.startswith(("blob:", "data:"))} == {
        page.as_uri()
    }


def test_no_name_however_long_makes_the_page_wider_than_its_window(browser, page):
    browser.open(page, width=500)
    browser.do(
        "for (const tag of ['h2', 'h3', 'p', 'li', 'summary', 'figcaption', 'dt', 'dd']) { "
        f"const line = document.createElement(tag); line.textContent = '{'n' * 300}'; "
        "document.querySelector('main section').append(line); }"
    )
    assert browser.do("document.documentElement.scrollWidth") == 500


def test_names_of_classes_stay_in_their_card_and_keep_their_order_in_any_script(browser, page):
    """A name of 120 letters ran over the next cards; of two names in Arabic the wrong class stood first."""
    browser.open(page)
    drawn(browser)
    names = "[...document.querySelectorAll('.flip b')]"
    browser.do(f"{names}.forEach((b) => {{ b.textContent = 'قطة'; }})")
    places = browser.do(f"{names}.map((b) => b.getBoundingClientRect().left)")
    assert places and all(own < wrong for own, wrong in zip(places[::2], places[1::2], strict=True))
    browser.do(f"{names}.forEach((b) => {{ b.textContent = 'W'.repeat(120); }})")
    assert browser.do("document.documentElement.scrollWidth") == 1300


def test_a_figure_on_a_telephone_is_moved_sideways_and_not_made_too_small_to_read(browser, page):
    browser.open(page, width=390)
    sizes = "[...document.querySelectorAll('figure > svg')].map((f) => [f.clientWidth, f.viewBox.baseVal.width])"
    figures = browser.do(sizes)
    assert figures and all(shown >= min(drawn, 620) - 1 for shown, drawn in figures)
    assert browser.do("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize(("width", "dark"), [(1300, False), (1300, True), (500, False)])
def test_the_page_is_drawn_without_a_message_or_a_request(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    drawn(browser)
    assert is_quiet(browser, page)
    assert browser.do("document.documentElement.scrollWidth") == width
    background = browser.do("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 21, 27)" if dark else "rgb(251, 250, 248)")
    labels = "[...document.querySelectorAll('.tile')].every((tile) => tile.getAttribute('aria-label').length > 5)"
    assert browser.do(labels)
    assert "<script>alert(1)</script>" in browser.do("document.body.innerText")


@pytest.mark.parametrize("dark", [False, True])
def test_borders_of_controls_have_a_contrast_of_at_least_3(browser, page, dark):
    """WCAG 2.2, criterion 1.4.11; it was 1.3."""
    browser.open(page, dark=dark)
    drawn(browser)
    controls = "[...document.querySelectorAll('main :is(button:not(.bare), select, input[type=number])')]"
    colour = "(value) => value.match(/\\d+/g).slice(0, 3).map(Number)"
    borders = browser.do(f"{controls}.map((c) => getComputedStyle(c).borderTopColor).map({colour})")
    grounds = "[document.body, document.querySelector('.card')].map((e) => getComputedStyle(e).backgroundColor)"
    on = browser.do(f"{grounds}.map({colour})")
    assert len(borders) > 20
    assert min(contrast(border, behind) for border in borders for behind in on) >= 3


@pytest.mark.parametrize("width", [390, 960, 1100, 1280, 1600])
def test_the_title_and_what_is_below_it_begin_at_one_line(browser, page, width):
    browser.open(page, width=width)
    left = "document.querySelector('{}').getBoundingClientRect().left"
    assert browser.do(left.format("h1")) == browser.do(left.format(".contents"))


def test_words_of_the_glossary_are_not_marked_in_keys_of_a_spec(browser, page):
    browser.open(page)
    browser.do(
        "(p => { p.textContent = 'rows of [units], of units'; document.querySelector('#overview').append(p); })"
        "(document.createElement('p'))"
    )
    browser.do("document.querySelector('#overview').scrollIntoView()")
    browser.until("document.querySelector('#overview a.word')")
    assert browser.do("document.querySelector('#overview p:last-child').innerHTML").startswith("rows of [units], of <a")


def test_units_are_ranked_paged_found_and_opened(browser, page):
    browser.open(page)
    drawn(browser)
    first = "document.querySelector('#units-explorer .side.natural .line button').textContent"
    assert browser.do(first) == "0"
    tops = "[...document.querySelectorAll('#units-explorer .line .strip')].map((strip) => strip.offsetHeight)"
    assert max(browser.do(tops)) < 60  # eight images stand in one line
    browser.do("document.querySelector('#units-explorer .pager button[aria-label=\"Next page\"]').click()")
    assert browser.do(first) == "8"
    choose = "(s => { s.value = 'score.kurtosis'; s.dispatchEvent(new Event('change')); })"
    browser.do(f"{choose}(document.querySelectorAll('#units-explorer select')[1])")
    shown = (
        "[...document.querySelectorAll('#units-explorer .side.natural .score')].map((e) => parseFloat(e.textContent))"
    )
    scores = browser.do(shown)
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)
    find = "(i => { i.value = '11'; i.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'})); })"
    browser.do(f"{find}(document.querySelector('#units-explorer input[type=number]'))")
    opened = browser.do("document.querySelector('#units-explorer .line.open').innerText")
    assert opened.startswith("11")
    for heading in ("Largest values", "Smallest values", "How its values are spread", "Scores"):
        assert heading in opened
    assert browser.do("document.querySelectorAll('#units-explorer .line.open .scale .band').length") == 2
    assert not browser.messages


@pytest.mark.parametrize("width", [360, 500, 900, 1100, 1600])
def test_the_images_of_a_unit_stand_in_one_line_of_any_window(browser, page, width):
    """At 1,100 pixels eight images stood in two lines."""
    browser.open(page, width=width)
    drawn(browser)
    lines = "[...document.querySelectorAll('#units-explorer .strip')].map((strip) => new Set([...strip.children]"
    assert set(browser.do(f"{lines}.map((tile) => tile.offsetTop)).size)")) == {1}
    assert 24 <= browser.do("document.querySelector('#units-explorer .tile').offsetWidth") <= 44
    # And so they do where the window changes.
    browser.ask("Emulation.setDeviceMetricsOverride", width=1000, height=900, deviceScaleFactor=1, mobile=False)
    browser.until(f"{lines}.map((tile) => tile.offsetTop)).size).every((lines) => lines === 1)")


def test_the_blind_mode_hides_what_it_asks_and_counts_guesses(browser, page):
    browser.open(page)
    drawn(browser)
    buttons = "[...document.querySelectorAll('#units-explorer button')]"
    browser.do(f"{buttons}.find((b) => b.textContent === 'which is which?').click()")
    hidden = browser.do("document.getElementById('units-explorer').innerText")
    assert "random directions" not in hidden
    assert "No guess yet" in hidden
    titles = browser.do("[...document.querySelectorAll('#units-explorer .tile')].map((t) => t.title || t.ariaLabel)")
    assert all(title.startswith("rank ") for title in titles)
    right = 0
    for n in range(1, 5):
        browser.do("document.querySelector('#units-explorer [data-guess=\"0\"]').click()")
        told = browser.do("document.querySelector('#units-explorer [role=status]').innerText")
        right += told.startswith("Right.")
        assert f"{right} of {n} guesses were right" in told
        assert "random directions" in browser.do("document.getElementById('units-explorer').innerText")
        browser.do("document.querySelector('#units-explorer [data-again]').click()")


def test_searches_are_filtered_and_sorted(browser, page):
    browser.open(page)
    drawn(browser)
    cards = "[...document.querySelectorAll('#searches-explorer .card')].map((c) => c.innerText)"
    sizes = [float(text.split("distortion ")[1].split()[0]) for text in browser.do(cards)]
    assert len(sizes) == 12
    assert sizes == sorted(sizes)
    set_to = "((at, value) => { const s = document.querySelectorAll('#searches-explorer select')[at]; s.value = value;"
    set_to += " s.dispatchEvent(new Event('change')); })"
    browser.do(f"{set_to}(0, '007')")
    assert all("007" in text for text in browser.do(cards))
    browser.do(f"{set_to}(3, '4')")
    assert all(text.startswith("4 → 7") for text in browser.do(cards))
    # The cells of pairs of classes had no colour, and white figures: a style by the name --p was lost.
    shades = "[...document.querySelectorAll('.pairs .cell')].map((c) => getComputedStyle(c).backgroundColor)"
    assert len(set(browser.do(shades))) > 3
    browser.do("document.querySelector('#searches-explorer .pairs .cell').click()")
    assert all(text.startswith("0 → 3") for text in browser.do(cards))
    browser.do("document.querySelector('#searches-explorer input[type=checkbox]').click()")
    browser.do(f"{set_to}(2, 'not found')")
    assert "not found" in "".join(browser.do(cards)) or "No search is like that" in browser.do(
        "document.getElementById('searches-explorer').innerText"
    )
    assert not browser.messages


def test_a_tip_goes_with_what_it_is_about(browser, page):
    """The tip of a unit's button hung over the page's top when the page was scrolled there."""
    browser.open(page)
    drawn(browser)
    # Focus scrolls, and a tip ends when its page is scrolled: it is focused until it stays.
    browser.until(
        "(b => { b.blur(); b.focus(); return !document.querySelector('.tip').hidden; })"
        "(document.querySelector('#units-explorer .line button'))"
    )
    browser.do("window.scrollTo({top: 0, behavior: 'instant'})")
    browser.until("document.querySelector('.tip').hidden")


def test_words_explain_themselves_and_figures_tell_their_values_by_keyboard(browser, page):
    browser.open(page)
    drawn(browser)
    browser.do("document.getElementById('distortions').scrollIntoView()")
    browser.until("document.querySelector('#distortions a.word')")
    browser.do("document.querySelector('#distortions a.word').focus()")
    browser.until("document.querySelector('.tip').textContent.length > 20")
    # Here too the key is pressed until the tip stays.
    browser.until(
        "(s => { s.focus(); s.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
        " return document.querySelector('.tip').textContent.includes('% right'); })"
        "(document.querySelector('script[data-hover]').previousElementSibling)"
    )


def test_intervals_of_cells_are_shown_without_a_pointer_and_where_a_box_is_ticked(browser, page):
    browser.open(page)
    cell = "document.querySelector('#transfer .heat td.cell')"
    told = "95 % interval 84.5 to 100.0, 21 images; noise of the same size 9.5"
    assert browser.do(f"{cell}.textContent").endswith(f" {told}")  # as a screen reader reads it
    assert not browser.do("document.querySelector('#main td[title]')")
    narrow = browser.do(f"{cell}.offsetHeight")
    browser.do("document.querySelector('#transfer .tells').click()")
    assert browser.do(f"getComputedStyle({cell}.querySelector('.tell')).position") == "static"
    assert browser.do(f"{cell}.offsetHeight") > narrow + 10
    assert browser.do("document.documentElement.scrollWidth") == 1300


def test_a_table_takes_the_focus_while_it_is_wider_than_its_place_and_arrow_keys_move_it(browser, page):
    browser.open(page, width=390)
    seen = "[...document.querySelectorAll('.scroll')].filter((s) => s.checkVisibility())"
    wide = f"{seen}.filter((s) => s.scrollWidth > s.clientWidth + 1)"
    browser.until(f"{wide}.length && {wide}.every((s) => s.tabIndex === 0)")
    labels = browser.do(f"{wide}.map((s) => s.getAttribute('role') + ' ' + s.getAttribute('aria-label'))")
    assert all(label.startswith("group ") and label.endswith(": the arrow keys move it") for label in labels)
    assert "group What was run: the arrow keys move it" in labels
    narrow = f"{seen}.filter((s) => s.scrollWidth <= s.clientWidth)"
    assert browser.do(f"{narrow}.every((s) => !s.hasAttribute('tabindex') && !s.hasAttribute('aria-label'))")
    browser.do(f"{wide}[0].focus()")
    browser.until(
        "(() => { const s = document.activeElement; s.scrollIntoView(); return s.className === 'scroll'; })()"
    )
    for kind in ("rawKeyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    browser.until("document.activeElement.scrollLeft > 0")
    browser.ask("Emulation.setDeviceMetricsOverride", width=4000, height=900, deviceScaleFactor=1, mobile=False)
    browser.until("!document.querySelector('#transfer .scroll[tabindex]')")


def test_the_folder_form_opens_from_the_disk(browser, root, tmp_path):
    index = write_site(root, tmp_path / "site", images)
    browser.open(index)
    drawn(browser)
    assert not browser.messages
    outside = [r for r in browser.requests if not r.startswith(((tmp_path / "site").as_uri(), "data:", "blob:"))]
    assert outside == []
    assert any(r.endswith("/data/units-0.js") for r in browser.requests)


def test_paper_is_white_and_holds_every_table_and_the_screen_is_as_before_after_printing(browser, page):
    browser.open(page, dark=True, media="print")
    assert browser.do("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.do("getComputedStyle(document.body).color") == "rgb(28, 31, 38)"
    browser.do("[...document.querySelectorAll('#main details')].forEach((details) => { details.open = true; })")
    browser.do("document.querySelector('.answers details').open = false")
    browser.do("window.dispatchEvent(new Event('beforeprint'))")
    widths = "[...document.querySelectorAll('.scroll > table')].map((table) => table.getBoundingClientRect().width)"
    browser.ask("Emulation.setDeviceMetricsOverride", width=700, height=900, deviceScaleFactor=1, mobile=False)
    assert browser.do("document.querySelectorAll('.scroll > table').length") > 3
    assert browser.do(f"Math.max(...{widths})") <= 701
    assert browser.do("document.querySelector('.answers details').open")
    browser.do("window.dispatchEvent(new Event('afterprint'))")
    assert not browser.do("document.querySelector('.answers details').open")
    assert browser.do("[...document.querySelectorAll('.scroll > table')].every((table) => table.style.zoom === '')")
