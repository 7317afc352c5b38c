"""Oracle: Chromium opening the page: its console, its sliders, its address, its layout."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from browser import chromium, lowest_contrast, media, resize
from explorer.stored import exponential_store
from lazyrich.explorer import ExplorerServer, page_text, read_document
from lazyrich.explorer._page import FIGURES, SLIDERS, _address

pytestmark = pytest.mark.slow  # Chromium takes seconds to start

ROOT = Path(__file__).parents[2]
VIEWS = ("play", "map", "runs", "learn")
WORDS = "p, a, td, th, b, button, span, li, code, label, output, select, legend, figcaption"
UNNAMED = """
return [...document.querySelectorAll("input, select, button, [role=slider], [role=img]")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !node.labels?.length && !node.getAttribute("aria-label"))
  .filter((node) => !node.innerText?.trim())
  .map((node) => node.outerHTML.slice(0, 120));
"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(require_extra, downloads, tmp_path_factory):
    """One Chromium for all tests."""
    yield from chromium(require_extra, tmp_path_factory.mktemp("profile"), downloads)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page as a file, as it lies in the documentation."""
    path = tmp_path_factory.mktemp("page") / "explore.html"
    path.write_text(page_text(), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Runs of a sweep of 5 × 10 × 10 runs, and leave to train."""
    folder = exponential_store(
        tmp_path_factory.mktemp("explored") / "store",
        alphas=(1.0, 2.0, 4.0, 8.0, 1e6),
        epsilons=[0.5 + 0.1 * k for k in range(10)],
        n_seeds=10,
    )
    with ExplorerServer(read_document(folder), train=True) as found:
        yield found


@pytest.fixture
def page(browser):
    """A window of 1280 pixels; at the end the console must be empty."""
    resize(browser, 1280, 900)
    media(browser)
    browser.get("about:blank")
    browser.get_log("browser")
    yield browser
    assert browser.get_log("browser") == []


def js(page, script, *arguments):
    return page.execute_script(script, *arguments)


def wait_for(page, condition, seconds=30):
    """Until a condition in JavaScript holds; what it then is."""
    end = time.monotonic() + seconds
    while True:
        found = js(page, f"return {condition}")
        if found:
            return found
        assert time.monotonic() < end, condition
        time.sleep(0.05)


PLAY = "lazyrichExplorer.play"
DONE = f"{PLAY}.isDone && {PLAY}.told === {PLAY}.id"


def open_view(page, address, view, more=""):
    page.get("about:blank")
    page.get(f"{address}#view={view}{more}")
    wait_for(page, "globalThis.lazyrichExplorer?.isFilled")


def drawn(page):
    """The test loss that the plot holds."""
    return js(page, f"return {PLAY}.charts.losses.data.at(-1)")


@pytest.mark.parametrize("view", VIEWS)
def test_it_loads_by_itself(page, file, view):
    open_view(page, file, view)
    time.sleep(0.5)
    assert js(page, "return document.getElementById(arguments[0]).checkVisibility()", view)
    loaded = js(page, 'return performance.getEntriesByType("resource").map((one) => one.name)')
    assert all(name.startswith(("data:", "blob:")) for name in loaded)
    current = js(page, 'return document.querySelector("nav [aria-current]").dataset.view')
    assert current == view
    plots = "[...Object.values(lazyrichExplorer.play.charts), lazyrichExplorer.map.chart]"
    named = f"return {plots}.map((chart) => chart.plot.axes[0].label)"
    assert set(js(page, named)) == {"step"}


def test_every_slider_moves_the_curve(page, file):
    """By keyboard, as a mouse would: each makes another run, whose curve is another."""
    from selenium.webdriver.common.keys import Keys

    open_view(page, file, "play", "&dim=8&n_train=40&n_steps=1000&noise=0.1")
    for name in SLIDERS:
        wait_for(page, DONE)
        before, run = drawn(page), js(page, f"return {PLAY}.id")
        slider = page.find_element("id", f"set-{name}")
        slider.send_keys(Keys.ARROW_LEFT if name == "n_train" else Keys.ARROW_RIGHT)
        for _ in range(3):
            slider.send_keys(Keys.ARROW_LEFT if name == "n_train" else Keys.ARROW_RIGHT)
        wait_for(page, f"{PLAY}.id > {run} && {DONE}")
        assert drawn(page) != before, name
        text = js(page, "return arguments[0].ariaValueText", slider)
        shown = js(page, "return arguments[0].parentElement.querySelector('output').value", slider)
        assert text == shown
    box = page.find_element("id", "set-center")
    before, run = drawn(page), js(page, f"return {PLAY}.id")
    box.click()
    wait_for(page, f"{PLAY}.id > {run} && {DONE}")
    assert drawn(page) != before


def test_the_address_holds_the_state(page, file):
    state = "&alpha=2.5&epsilon=0.2&n_train=50&width=inf&dim=10&momentum=0.5&noise=0.1&seed=7"
    open_view(page, file, "play", f"{state}&n_steps=1000&center=0")
    settings = js(page, f"return {{...{PLAY}.settings, width: String({PLAY}.settings.width)}}")
    assert settings["alpha"] == 2.5
    assert settings["width"] == "Infinity"
    assert (settings["n_train"], settings["dim"], settings["center"]) == (50, 10, False)
    wait_for(page, DONE)
    first = drawn(page)
    assert js(page, "return document.getElementById('problems').hidden")
    page.find_element("id", "reset").click()
    wait_for(page, "location.hash === '#view=play'")
    page.find_element("css selector", "nav a[data-view=map]").click()
    page.back()
    wait_for(page, "!document.getElementById('play').hidden")
    open_view(page, file, "play", f"{state}&n_steps=1000&center=0")
    wait_for(page, DONE)
    assert drawn(page) == first


@pytest.mark.parametrize(
    "wrong",
    ["alpha=0", "alpha=1e999", "alpha=x", "n_train=7000", "keys=1-2", "width=-3", "dim=1e9"],
)
def test_an_address_out_of_range_says_so(page, file, wrong):
    open_view(page, file, "play", f"&{wrong}&n_steps=1000")
    said = js(page, "return document.getElementById('problems').innerText")
    assert wrong.split("=")[0] in said
    assert said.endswith(".")
    wait_for(page, DONE)
    assert all(np.isfinite(js(page, f"return {PLAY}.records.map((one) => one.test_loss)")))


@pytest.mark.parametrize("title", ["Figure 4", "Figure 9, P = 50"])
def test_figure_buttons_give_the_recorded_runs(page, file, title):
    from lazyrich.curves import grokking_delay
    from lazyrich.paper._files import read_panels

    [figure] = [one for one in FIGURES if one["title"] == title]
    path = ROOT / "results" / "authors" / f"{figure['figure']}.nc"
    recorded = read_panels(path.read_bytes())["runs"].isel(seed=0)
    if "n_train" in recorded.dims:
        recorded = recorded.sel(n_train=figure["settings"]["n_train"])
    steps, test = recorded["step"].values, recorded["test_loss"].values
    theirs = grokking_delay(steps.astype(float), recorded["train_loss"].values, test)
    open_view(page, file, "play", "&n_steps=1000&dim=5&n_train=20")
    buttons = page.find_elements("css selector", "#figures button")
    next(button for button in buttons if button.text == title).click()
    wait_for(page, f"{PLAY}.settings.keys && {DONE}", 240)
    found = js(
        page,
        f"const {{peak, trainStep, testStep}} = {PLAY}.found;"
        "return [peak.step, peak.value, trainStep, testStep].map(String)",
    )
    assert float(found[2]) == pytest.approx(float(theirs.train_step), rel=0.01)
    assert float(found[3].replace("Infinity", "inf")) == pytest.approx(
        float(theirs.test_step), rel=0.01
    )
    before = test[steps <= float(theirs.test_step)]
    assert float(found[1]) == pytest.approx(before.max(), rel=0.01)
    # The page records at other steps: its peak lies between the records beside the highest.
    top = int(np.argmax(before))
    assert steps[max(0, top - 2)] <= float(found[0]) <= steps[min(len(steps) - 1, top + 2)]


def test_links_of_figures_set_what_their_buttons_set(page, file):
    for figure in FIGURES:
        page.get("about:blank")
        page.get(file + _address(figure["settings"]))
        wait_for(page, "globalThis.lazyrichExplorer?.isFilled")
        pressed = page.find_elements("css selector", "#figures button[aria-pressed=true]")
        assert [button.text for button in pressed] == [figure["title"]]
        assert js(page, "return document.getElementById('problems').hidden")


def test_without_the_token_the_page_is_refused(page, server):
    page.get(f"http://127.0.0.1:{server.port}/")
    assert "The token is missing" in page.find_element("tag name", "body").text
    assert page.find_elements("tag name", "script") == []
    page.get_log("browser")  # the browser itself notes the refusal


def test_it_pauses_and_goes_on(page, file):
    open_view(page, file, "play", "&dim=30&n_train=200&n_steps=20000")
    wait_for(page, f"{PLAY}.step > 100")
    page.find_element("id", "pause").click()
    time.sleep(0.3)
    step = js(page, f"return {PLAY}.step")
    time.sleep(0.5)
    assert js(page, f"return {PLAY}.step") == step
    page.find_element("id", "pause").click()
    wait_for(page, f"{PLAY}.step > {step}")
    page.find_element("css selector", "nav a[data-view=map]").click()
    assert js(page, f"return {PLAY}.worker") is None


def test_curves_can_be_kept_and_saved(page, file, downloads):
    open_view(page, file, "play", "&dim=5&n_train=20&n_steps=1000")
    wait_for(page, DONE)
    first = drawn(page)
    page.find_element("id", "keep").click()
    run = js(page, f"return {PLAY}.id")
    js(
        page,
        "const input = document.getElementById('set-alpha'); input.value = 900;"
        "input.dispatchEvent(new Event('input', {bubbles: true}))",
    )
    wait_for(page, f"{PLAY}.id > {run} && {DONE}")
    data = js(page, f"return {PLAY}.charts.losses.data")
    assert [value for value in data[2] if value is not None] == [v for v in first if v is not None]
    for name, ending in (("play-csv", "csv"), ("play-png", "png")):
        page.find_element("id", name).click()
        for _ in range(600):
            if list(downloads.glob(f"*.{ending}")):
                break
            time.sleep(0.05)
    [table] = downloads.glob("*.csv")
    header, *rows = table.read_text().splitlines()
    assert header.startswith("steps,train_loss,test_loss")
    assert rows[0].startswith("0,")
    assert rows[-1].startswith("1000,")
    [picture] = downloads.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_dot_of_the_map_is_dragged(page, file):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_view(page, file, "map")
    caption = "document.getElementById('map-run-caption').textContent"
    assert "alpha = 2.8, epsilon = 0.14" in js(page, f"return {caption}")
    lines = "lazyrichExplorer.map.chart.data.map((one) => one.length)"
    assert len(wait_for(page, f"({lines}[1] > 10) && {lines}")) == 1 + 2 * 3  # x, three seeds
    dot = page.find_element("css selector", "#map-grid .dot")
    width = js(
        page,
        "return lazyrichExplorer.map.size.w * document.querySelector('#map-grid svg')"
        ".getBoundingClientRect().width / lazyrichExplorer.map.size.width",
    )
    before = js(page, "return lazyrichExplorer.map.chart.data[1]")
    ActionChains(page).drag_and_drop_by_offset(dot, round(2 * width), 0).perform()
    wait_for(page, f"{caption}.includes('alpha = 5.6, epsilon = 0.14')")
    wait_for(
        page,
        f"JSON.stringify(lazyrichExplorer.map.chart.data[1]) !== {json.dumps(json.dumps(before))}",
    )
    ActionChains(page).send_keys(Keys.ARROW_UP, Keys.ARROW_UP).perform()
    wait_for(page, f"{caption}.includes('epsilon = 0.28: delay censored')")
    assert len(page.find_elements("css selector", "#map-grid .censored")) == 1
    wait_for(page, "location.hash.includes('at=3-3')")
    address = js(page, "return location.hash")
    page.get("about:blank")
    page.get(file + address)
    wait_for(page, f"{caption}.includes('alpha = 5.6, epsilon = 0.28')")


def test_any_two_settings_make_a_map(page, server):
    open_view(page, server.url, "map", "&x=epsilon&y=alpha&colour=train_step")
    cells = page.find_elements("css selector", "#map-grid title")
    texts = {one.get_attribute("textContent") for one in cells}
    assert len(cells) == 50
    # exp(−t) = 0.1 at 30/ε · ln 10 steps.
    assert "epsilon = 1, alpha = 8: train_step 69, median of 10 runs" in {
        text.replace("69.1", "69") for text in texts
    }


def test_five_hundred_runs_are_filtered_at_once(page, server):
    open_view(page, server.url, "runs")
    rows = "document.querySelectorAll('#runs-table tbody tr').length"
    assert js(page, f"return {rows}") == 50
    page.find_element("id", "runs-more").click()
    assert js(page, f"return {rows}") == 100
    script = """
        const field = document.getElementById(arguments[0]);
        const begin = performance.now();
        field.value = arguments[1];
        field.dispatchEvent(new Event(arguments[2], { bubbles: true }));
        document.body.offsetHeight;
        const count = document.getElementById("runs-count").textContent;
        return [performance.now() - begin, count];
    """
    # Not fallen: (1 + seed/10) exp(−1000 ε/(30 α)) > 1/10.
    n_censored = sum(
        (1 + seed / 10) * np.exp(-1000 * (0.5 + 0.1 * k) / 30 / alpha) > 0.1
        for alpha in (1.0, 2.0, 4.0, 8.0, 1e6)
        for k in range(10)
        for seed in range(10)
    )
    slowest = 0
    for field, value, event, n in (
        ("filter-words", "alpha>=4", "input", 300),
        ("filter-words", "alpha>=4 seed=3", "input", 30),
        ("filter-words", "", "input", 500),
        ("filter-outcome", '"fits only"', "change", n_censored),
        ("filter-alpha", "1000000", "change", 100),
        ("filter-outcome", "", "change", 100),
        ("filter-alpha", "", "change", 500),
    ):
        # The best of three, for the machine may be doing something else.
        found = [js(page, script, field, value, event) for _ in range(3)]
        assert {count for _, count in found} == {f"{n} of 500 runs"}
        slowest = max(slowest, min(milliseconds for milliseconds, _ in found))
    assert slowest < 100


def test_a_link_restores_filters_and_what_is_held_fixed(page, server):
    open_view(page, server.url, "runs")
    js(
        page,
        "for (const [id, value, type] of arguments[0]) {"
        "  const field = document.getElementById(id); field.value = value;"
        "  field.dispatchEvent(new Event(type, { bubbles: true })); }",
        [["filter-words", "epsilon<0.75", "input"], ["filter-alpha", "4", "change"]],
    )
    count = "document.getElementById('runs-count').textContent"
    assert js(page, f"return {count}") == "30 of 500 runs"
    page.find_element("id", "runs-all").click()
    caption = "document.getElementById('runs-caption').textContent"
    wait_for(page, f"{caption} === 'test loss of the first 24 of 30 selected runs'")
    wait_for(page, "location.hash.includes('only-alpha=4')")
    address = js(page, "return location.href")
    page.get("about:blank")
    page.get(address)
    wait_for(page, "globalThis.lazyrichExplorer?.isFilled")
    assert js(page, f"return {count}") == "30 of 500 runs"


def test_a_link_restores_what_a_map_holds_fixed(page, tmp_path):
    places = [(alpha, epsilon, dim) for alpha in (1, 2) for epsilon in (1, 2) for dim in (5, 8)]
    curve = {"steps": [0, 10], "values": {"train_loss": [1, 0.1], "test_loss": [1, 0.1]}}
    document = {
        "title": "A sweep over three settings",
        "settings": dict(
            zip(("alpha", "epsilon", "dim"), map(list, zip(*places, strict=True)), strict=True)
        ),
        "runs": [
            {"status": "ok", "outcome": "generalises late", "delay": 100 * a + 10 * e + d}
            for a, e, d in places
        ],
        "curves": [curve for _ in places],
        "quantities": {"train_loss": "1", "test_loss": "1"},
        "common": {},
    }
    path = tmp_path / "page.html"
    path.write_text(page_text(document), encoding="utf-8")
    open_view(page, path.as_uri(), "map", "&at=1-0")
    caption = "document.getElementById('map-run-caption').textContent"
    assert js(page, f"return {caption}") == "alpha = 2, epsilon = 1: delay 217, median of 2 runs"
    js(
        page,
        "const field = document.getElementById('map-of-dim'); field.value = '8';"
        "field.dispatchEvent(new Event('change', { bubbles: true }))",
    )
    wait_for(page, f"{caption} === 'alpha = 2, epsilon = 1: delay 218'")
    wait_for(page, "location.hash.includes('of-dim=8')")
    address = js(page, "return location.href")
    page.get("about:blank")
    page.get(address)
    wait_for(page, f"{caption} === 'alpha = 2, epsilon = 1: delay 218'")
    assert js(page, "return document.getElementById('map-of-dim').value") == "8"


def test_conditions_do_not_hold_for_what_is_not_there(page, server):
    """A delay that is censored is neither above nor below a number; the table shows never."""
    open_view(page, server.url, "runs")
    counts = []
    for words in ("delay>=0", "delay<0", "delay=never", "delay!=never"):
        js(
            page,
            "document.getElementById('filter-words').value = arguments[0];"
            "lazyrichExplorer.runs.filter()",
            words,
        )
        counts.append(int(page.find_element("id", "runs-count").text.split()[0]))
    known, below, never, there = counts
    assert (known, below, known + never) == (there, 0, 500)
    assert never > 0


def test_seeds_are_bands_and_columns_sort(page, server):
    open_view(page, server.url, "runs")
    fill = "document.getElementById('filter-words').value = 'alpha=2 epsilon=0.5';"
    js(page, fill + "lazyrichExplorer.runs.filter()")
    page.find_element("id", "runs-all").click()
    wait_for(page, "lazyrichExplorer.runs.chart.data.length === 11")
    page.find_element("id", "runs-bands").click()
    wait_for(page, "lazyrichExplorer.runs.chart.bands.length === 1")
    x, high, low, middle = js(page, "return lazyrichExplorer.runs.chart.data")
    time_of = np.array(x[1:]) * 0.5 / 30
    np.testing.assert_allclose(low[1:], np.exp(-time_of / 2), rtol=1e-5)
    np.testing.assert_allclose(high[1:], 1.9 * np.exp(-time_of / 2), rtol=1e-5)
    np.testing.assert_allclose(middle[1:], 1.45 * np.exp(-time_of / 2), rtol=1e-5)
    headings = page.find_elements("css selector", "#runs-table thead button")
    next(one for one in headings if one.text == "delay").click()
    delays = js(
        page,
        "const { order, source } = lazyrichExplorer.runs;"
        "return order.map((k) => source.document.runs[k].delay)",
    )
    known = [delay for delay in delays if delay is not None]
    assert delays == sorted(known) + [None] * (500 - len(known))
    wait_for(page, "location.hash.includes('bands=1')")


def test_train_now_streams_and_stops(page, server):
    open_view(page, server.url, "runs")
    js(
        page,
        "document.getElementById('train-changes').value = arguments[0]",
        "dim=30 n_train=300 n_probe=0 n_steps=1000000",
    )
    page.find_element("id", "train-start").click()
    records = "lazyrichExplorer.runs.trainer.records?.length"
    first = wait_for(page, f"{records} > 3 && {records}", 60)
    wait_for(page, f"{records} > {first}")
    assert js(page, "return lazyrichExplorer.runs.trainer.chart.data[1].length") > 3
    page.find_element("id", "train-stop").click()
    said = "document.getElementById('train-reading').textContent"
    wait_for(page, f"{said}.startsWith('Stopped')")
    js(page, "document.getElementById('train-changes').value = 'alpha=-1'")
    page.find_element("id", "train-start").click()
    wait_for(page, f"{said}.includes('alpha')")
    assert js(page, "return document.getElementById('train-stop').disabled")
    # The browser itself notes the refusal of the server.
    [refusal] = page.get_log("browser")
    assert "400" in refusal["message"]


def test_lessons_set_the_sliders(page, file):
    open_view(page, file, "learn")
    seen = set()
    for number in range(1, 7):
        title = js(page, "return document.querySelector('#lesson h3').textContent")
        assert title.startswith(f"{number}.")
        seen.add(json.dumps(js(page, f"return {PLAY}.settings")))
        if number < 6:
            page.find_element("id", "lesson-next").click()
    assert len(seen) == 6
    assert not page.find_element("id", "lesson-next").is_enabled()
    wait_for(page, "location.hash.includes('step=6')")


@pytest.mark.parametrize("view", VIEWS)
def test_no_width_makes_it_scroll_sideways(page, file, view):
    open_view(page, file, view)
    for width in (320, 360, 740, 1280):
        resize(page, width, 900)
        time.sleep(0.2)
        content, window = js(
            page,
            "const page = document.documentElement;return [page.scrollWidth, page.clientWidth]",
        )
        assert content <= window <= width, width


def test_the_losses_stay_in_sight_of_the_sliders_on_a_phone(page, file):
    resize(page, 360, 780)
    open_view(page, file, "play", "&n_steps=1000&dim=5&n_train=20")
    places = """
        const slider = document.getElementById(arguments[0]);
        slider.focus();
        slider.scrollIntoView({ block: "nearest" });
        const { bottom } = document.querySelector(".wide").getBoundingClientRect();
        return [bottom, slider.getBoundingClientRect().top];
    """
    for name in ("set-alpha", "set-seed"):
        bottom, top = js(page, places, name)
        assert 0 < bottom <= top < 780


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_text_stands_out_and_controls_have_names(page, server, view, scheme):
    media(page, scheme=scheme)
    open_view(page, server.url, view)
    time.sleep(0.5)
    ground = js(page, "return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(21, 24, 27)") == (scheme == "dark")
    ratio, where = lowest_contrast(page, WORDS)
    assert ratio >= 4.5, where  # WCAG AA for text
    assert js(page, UNNAMED) == []


def test_focus_is_seen(page, file):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_view(page, file, "play", "&n_steps=1000&dim=5&n_train=20")
    js(page, "document.querySelector('nav a').focus()")
    for _ in range(8):
        ActionChains(page).send_keys(Keys.TAB).perform()
        style = js(
            page,
            "const found = getComputedStyle(document.activeElement);"
            "return [found.outlineStyle, parseFloat(found.outlineWidth)]",
        )
        assert style[0] == "solid"
        assert style[1] >= 2


def test_reduced_motion_draws_seldom(page, file):
    media(page, motion="reduce")
    open_view(page, file, "play", "&dim=30&n_train=200&n_steps=20000")
    js(
        page,
        f"window.n = 0; const draw = {PLAY}.draw;"
        f"{PLAY}.draw = function () {{ window.n++; draw.call(this); }}",
    )
    time.sleep(3)
    assert 1 <= js(page, "return window.n") <= 4


def test_a_page_that_is_left_open_does_not_grow(page, server):
    """A day of use in little: many runs, maps and selections, and then nothing at all."""

    def measured():
        page.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        found = page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return {one["name"]: one["value"] for one in found}

    use = f"""
        const slider = document.getElementById("set-alpha");
        slider.value = 300 + Math.round(400 * Math.random());
        slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
        const {{ map, runs }} = lazyrichExplorer;
        map.move(Math.floor(5 * Math.random()), Math.floor(10 * Math.random()), true);
        map.draw();
        runs.choose([0, 1, 2].map(() => Math.floor(500 * Math.random())));
        {PLAY}.charts.losses.recolor();
    """
    open_view(page, server.url, "play", "&dim=5&n_train=20&n_steps=1000")
    page.execute_cdp_cmd("Performance.enable", {})
    wait_for(page, DONE)
    for _ in range(40):
        js(page, use)
        time.sleep(0.05)
    before = measured()
    for _ in range(120):
        js(page, use)
        time.sleep(0.05)
    wait_for(page, DONE)
    after = measured()
    assert after["Nodes"] <= before["Nodes"] + 200
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 100
    assert after["JSHeapUsedSize"] < 1.3 * before["JSHeapUsedSize"] + 2e6
    quiet = "return performance.getEntriesByType('resource').length"
    n, run = js(page, quiet), js(page, f"return [{PLAY}.id, {PLAY}.records.length]")
    time.sleep(2)
    assert js(page, quiet) == n
    assert js(page, f"return [{PLAY}.id, {PLAY}.records.length]") == run


def test_a_diagnosis_is_shown(page, tmp_path):
    from explorer.test_server import diagnosis

    (tmp_path / "one.json").write_text(diagnosis().to_json())
    text = page_text(read_document(tmp_path / "one.json").with_curves())
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    open_view(page, (tmp_path / "page.html").as_uri(), "runs")
    shown = page.find_element("id", "diagnosis").text
    assert "This network is rich." in shown
    assert "0.4 to 0.6" in shown
    assert "There is </script> one note." in shown
    # A diagnosis records no losses, so that none of them can be said never to fall.
    assert "never" not in page.find_element("id", "runs-table").text
    wait_for(page, "lazyrichExplorer.runs.chart.data[1]?.length === 4")


def test_the_report_carries_the_page_along(page, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    from lazyrich.cli import main
    from paper.reproduced import reproduced

    folder = reproduced(tmp_path / "reproduction")
    with pytest.raises(SystemExit) as ended:
        main(["report", "--out", str(folder), "--to", str(tmp_path / "report.html")])
    assert ended.value.code == 0
    page.get((tmp_path / "report.html").as_uri())
    families, sizes = js(
        page,
        "const words = [...document.querySelectorAll('button')].filter((one) => one.innerText);"
        "const styles = words.map((one) => getComputedStyle(one));"
        "return ['fontFamily', 'fontSize'].map((name) => styles.map((one) => one[name]))",
    )
    assert set(families) == {js(page, "return getComputedStyle(document.body).fontFamily")}
    assert min(float(size.removesuffix("px")) for size in sizes) >= 12
    first = page.current_window_handle
    js(page, "document.querySelector('.explore[data-state*=\"keys=0-1-2-0\"]').focus()")
    ActionChains(page).send_keys(Keys.ENTER).perform()
    page.switch_to.window(next(one for one in page.window_handles if one != first))
    try:
        wait_for(page, f"globalThis.lazyrichExplorer?.isFilled && {PLAY}.records.length > 5")
        assert js(page, f"return {PLAY}.settings.keys") == [0, 1, 2, 0]
        js(page, "document.getElementById('reset').click()")
        wait_for(page, "location.hash === '#view=play'")
        assert page.get_log("browser") == []
    finally:
        page.close()
        page.switch_to.window(first)


FRAMES = """
globalThis.frameTimes = [];
const note = (now) => { frameTimes.push(now); requestAnimationFrame(note); };
requestAnimationFrame(note);
"""


def watched_run(page, file, seed):
    """Seconds and frames a second of a run."""
    open_view(page, file, "play", f"&dim=40&n_train=120&n_steps=20000&seed={seed}")
    js(page, FRAMES)
    begin = time.monotonic()
    wait_for(page, DONE, seconds=60)
    seconds = time.monotonic() - begin
    frames = js(page, "return frameTimes")
    return seconds, 1000 * (len(frames) - 1) / (frames[-1] - frames[0])


def test_it_is_there_at_once_and_stays_so_while_it_trains(page, file):
    """One second until the first picture, 30 frames a second at D = 40, P = 120, 20 000 steps."""
    page.get("about:blank")
    page.get(f"{file}#view=play&dim=5&n_train=20&n_steps=1000")
    wait_for(page, f"globalThis.{PLAY}?.charts.losses.data?.at(-1)?.length")
    first = js(page, "return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    # The best of three, for the machine may be doing something else.
    runs = [watched_run(page, file, seed) for seed in range(3)]
    seconds, rate = min(one[0] for one in runs), max(one[1] for one in runs)
    said = f"first paint {first:.0f} ms, 20 000 steps {seconds:.2f} s, {rate:.0f} frames a second"
    assert first < 1000, said
    assert seconds < 3, said
    assert rate > 30, said
    assert len(page_text(server={}).encode()) < 400_000
