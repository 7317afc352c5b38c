"""Oracle: Chromium opening the page: its console, its layout, its keyboard, its downloads."""

import time

import pytest

from browser import chromium, lowest_contrast, media, resize
from lazyrich.paper import CLAIMS, write_report
from paper.reproduced import reproduced

pytestmark = pytest.mark.slow  # Chromium takes seconds to start

COLUMNS = {"figure": 1, "quick": 7}
WORDS = "p, a, td, th, b, button, span, li, dt, dd, code"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = reproduced(tmp_path_factory.mktemp("reproduction"))
    write_report(folder, folder / "report.html")
    return folder


@pytest.fixture(scope="module")
def browser(folder, require_extra, tmp_path_factory):
    """One Chromium for all tests."""
    yield from chromium(require_extra, tmp_path_factory.mktemp("profile"), folder / "got")


@pytest.fixture
def page(browser, folder):
    """The page freshly opened, 1280 pixels wide; at the end the console must be empty."""
    resize(browser, 1280, 844)
    media(browser, kind="screen")
    browser.get((folder / "report.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def shown(browser, column, line=0):
    """A line of a column's text in the rows of the claims table that are shown."""
    script = """return [...document.querySelectorAll("#all-claims tbody tr:not([hidden])")]
        .map((row) => row.cells[arguments[0] - 1].innerText)
        .map((text) => text.replace(/^([✓✗?–])\\n/, "$1 ").split("\\n"))
        .map((lines) => lines.map((text) => text.trim()).filter(Boolean)[arguments[1]] ?? "")"""
    return browser.execute_script(script, COLUMNS[column], line)


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_it_loads_by_itself(page):
    loaded = page.execute_script(
        'return performance.getEntriesByType("resource").map((one) => one.name.slice(0, 5))'
    )
    assert set(loaded) <= {"data:"}
    pictures = page.execute_script(
        "return [...document.images].map((one) => [one.complete, one.naturalWidth, one.alt])"
    )
    assert len(pictures) == 1
    assert all(complete and width > 0 and alt for complete, width, alt in pictures)


@pytest.mark.parametrize("presets", [("quick",), ("quick", "paper", "authors")])
def test_no_width_makes_it_scroll_sideways(presets, page, tmp_path):
    write_report(reproduced(tmp_path, presets=presets), tmp_path / "report.html")
    page.get((tmp_path / "report.html").as_uri())
    for width in (320, 390, 740, 800, 1000, 1200, 1217, 1280):
        resize(page, width, 844)
        script = (
            "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
        )
        content, window = page.execute_script(script)
        assert content <= window <= width, width


def test_claims_can_be_filtered(page):
    def choose(name, value):
        script = """const field = document.getElementById(arguments[0]);
            field.value = arguments[1]; field.dispatchEvent(new Event("input", {bubbles: true}))"""
        page.execute_script(script, name, value)

    assert len(shown(page, "figure")) == len(CLAIMS)
    choose("by-verdict", "quick: undecided")
    assert shown(page, "quick") == ["? undecided"] * 2
    choose("by-words", "Debiased features")
    assert shown(page, "quick", 1) == ["4 (−1.5 to 10)"]
    said = page.execute_script('return document.getElementById("shown").textContent')
    assert said == f"1 of {len(CLAIMS)} claims"
    click(page, ".filters [type=reset]")
    choose("by-figure", "fig4")
    assert set(shown(page, "figure")) == {"fig4"}
    click(page, ".card.does-not-hold")
    time.sleep(0.05)
    assert shown(page, "quick", 1) == ["0.7 (0.6 to 0.8)"]


def test_claims_can_be_sorted(page):
    judged = ["✓ holds", "✗ does not hold", "? undecided", "? undecided"]
    rest = ["– not computed"] * (len(CLAIMS) - 4)
    for order, direction in ((judged + rest, "ascending"), (rest + judged[::-1], "descending")):
        click(page, "#all-claims th:nth-child(7) button")
        assert shown(page, "quick") == order
        state = 'return document.querySelector("#all-claims th:nth-child(7)").ariaSort'
        assert page.execute_script(state) == direction


def test_pictures_open_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    state = """const viewer = document.getElementById("viewer");
        const image = viewer.querySelector("img");
        const isWide = image.getBoundingClientRect().width > innerWidth;
        return [viewer.open, image.alt.slice(0, 8), isWide, document.activeElement.className]"""
    page.execute_script('document.querySelector(".picture").focus()')
    resize(page, 390, 844)
    press(page, Keys.ENTER)
    assert page.execute_script(state) == [True, "Figure 1", False, "stage"]
    press(page, Keys.ARROW_RIGHT, "z")
    assert page.execute_script(state)[2]
    press(page, Keys.ESCAPE)
    is_open, *_, focus = page.execute_script(state)
    assert (is_open, focus) == (False, "picture")


def test_the_data_are_saved_as_they_are(page, folder):
    click(page, "a[download='fig1.nc']")
    got, wanted = folder / "got" / "fig1.nc", (folder / "fig1.nc").read_bytes()
    for _ in range(200):
        if got.exists() and got.read_bytes() == wanted:
            break
        time.sleep(0.05)  # browsers make an empty file first
    assert got.read_bytes() == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page, scheme):
    media(page, kind="screen", scheme=scheme)
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 24, 27)") == (scheme == "dark")
    ratio, where = lowest_contrast(page, WORDS)
    assert ratio >= 4.5, where  # WCAG AA for text


def test_paper_shows_no_controls(page):
    media(page, kind="print")
    hidden = page.execute_script(
        'return ["nav", ".filters", ".copy"].map((s) => '
        "document.querySelector(s)?.checkVisibility() ?? false)"
    )
    assert not any(hidden)
