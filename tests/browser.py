"""Chromium for the tests of pages: started, resized, with the contrast of the text measured."""

import os
import shutil

import pytest

ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--enable-precise-memory-info",
)

_CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (text) => rgb(text).slice(0, 3)
  .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
const ground = (node) => {
  for (let one = node; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor;
    if (rgb(color).length === 3) return light(color);
  }
  return 1;
};
const lowest = [21, ""];
for (const node of document.querySelectorAll(arguments[0])) {
  if (!node.innerText?.trim() || !node.offsetParent || node.disabled) continue;
  if (node.closest("dialog")) continue;
  const [a, b] = [light(getComputedStyle(node).color), ground(node)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < lowest[0]) lowest.splice(0, 2, ratio, node.outerHTML.slice(0, 120));
}
return lowest;
"""


def chromium(require_extra, profile, downloads):
    """A Chromium until the generator is closed; skips where there is none, unless promised."""
    require_extra("selenium")
    from selenium import webdriver

    programs = (
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    )
    if not all(programs):
        said = "no chromium with its chromedriver here (Debian: chromium, chromium-driver)"
        if os.environ.get("LAZYRICH_REQUIRE_CHROMIUM") == "1":
            pytest.fail(said)
        pytest.skip(said)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    try:
        yield driver
    finally:
        driver.quit()


def resize(browser, width, height):
    """Give the window a size; below 500 pixels it is that of a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def media(browser, *, kind="", scheme="light", motion="no-preference"):
    """Choose the medium, the colour scheme and whether motion is reduced."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": motion},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})


def lowest_contrast(browser, elements):
    """The smallest ratio of luminances of text and background, and where it is."""
    return browser.execute_script(_CONTRAST, elements)
