"""The report in a real browser: needs Chromium and its driver (Debian: chromium-driver)."""

from __future__ import annotations

import json
import shutil

import pytest

from rootstock import reports
from rootstock.workflows.compare import compare
from tests.support.comparisons_of_models import crystals, model

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, without network."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The browser, which shows a report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    models = [model(1, "a"), model(2, "b"), model(10, "c", unknown=[11])]
    reports.write_html(compare(crystals(12), models, tests=["eos"]), path)
    browser.get(path.as_uri())
    return browser


def requests(browser):
    """Return the addresses that the browser asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def test_no_request_and_no_console_message(page):
    addresses = requests(page)
    assert any(address.startswith("file:") for address in addresses)
    others = [a for a in addresses if not a.startswith(("file:", "data:"))]
    assert not others
    assert page.get_log("browser") == []


def column(page, section, number):
    """Return the texts of a column of the last table of a section."""
    script = (
        "const tables = document.querySelectorAll(`#${arguments[0]} table`);"
        "return Array.from(tables[tables.length - 1].tBodies[0].rows,"
        "  row => row.cells[arguments[1]].textContent.trim())"
    )
    return page.execute_script(script, section, number)


def press(page, section, number):
    buttons = page.find_elements("css selector", f"#{section} thead button")
    page.execute_script("arguments[0].click()", buttons[number])


def test_tables_sort_by_numbers_and_words(page):
    press(page, "structures", 3)
    rising = [float(text) for text in column(page, "structures", 3)]
    assert rising == sorted(rising)
    press(page, "structures", 3)
    falling = [float(text) for text in column(page, "structures", 3)]
    assert falling == sorted(rising, reverse=True)
    press(page, "structures", 0)
    assert column(page, "structures", 0) == [str(number) for number in range(12)]
    press(page, "structures", 1)
    assert column(page, "structures", 1) == sorted(column(page, "structures", 1))
    press(page, "summary", 0)
    press(page, "summary", 0)
    assert column(page, "summary", 0) == ["c", "b", "a"]
    sorts = page.execute_script(
        "return Array.from(document.querySelectorAll('#summary th[aria-sort]'),"
        " th => th.getAttribute('aria-sort'))"
    )
    assert sorts == ["descending"]


def test_values_that_are_not_known_stay_last(page):
    for _ in range(2):
        press(page, "eos", 4)
        values = column(page, "eos", 4)
        assert values[-1] == "-" and "-" not in values[:-1]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_follows_the_colour_scheme(page, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    script = "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g)"
    brightness = sum(map(int, page.execute_script(script))) / 3
    assert (brightness > 200) == (scheme == "light")
    script = "return getComputedStyle(document.querySelector('figure svg')).color.match(/[0-9]+/g)"
    text = sum(map(int, page.execute_script(script))) / 3
    assert (text < 60) == (scheme == "light")
