"""The release page in a real Chromium: it runs nothing but its filters, asks for nothing, and fits
a phone in light and dark."""

import json
from urllib.parse import urlsplit

import pytest

from plumbline.reports.release.page import release_page

DESK, PHONE = (1180, 860), (390, 844)
EVIL = (
    "<script>window.broken=1</script><img src=x"
    " onerror=\"window.broken=2;fetch('https://evil.example/a')\"><svg"
    " onload='window.broken=3'></article></main><link rel=stylesheet"
    " href=https://evil.example/b.css><iframe src=https://evil.example/c></iframe>"
)


@pytest.fixture
def browse(chromium, tmp_path):
    """Open a page from a file in a window of the given size and colour scheme."""

    def browse(page, size=DESK, scheme="light"):
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        for log in ("browser", "performance"):
            chromium.get_log(log)  # what tests before did
        metrics = {
            "width": size[0],
            "height": size[1],
            "deviceScaleFactor": 1,
            "mobile": size == PHONE,
        }
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chromium.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        chromium.get(path.as_uri())
        return chromium

    yield browse
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def requested(driver):
    """Addresses that the browser asked for, from the log of its network."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def contrast(driver, selector):
    """Least contrast of the text of the elements against what lies behind them (WCAG 2.2, relative
    luminance)."""
    return driver.execute_script(
        """
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const rgb = (color) => {
          canvas.clearRect(0, 0, 1, 1);
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          return canvas.getImageData(0, 0, 1, 1).data;
        };
        const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const light = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(color[i] / 255), 0);
        const behind = (element) => {
          const color = rgb(getComputedStyle(element).backgroundColor);
          return color[3] === 255 ? color : behind(element.parentElement);
        };
        return Math.min(...[...document.querySelectorAll(arguments[0])].map((element) => {
          const style = getComputedStyle(element);
          const [a, b] = [light(rgb(element instanceof SVGElement ? style.fill : style.color)), light(behind(element))].sort((x, y) => y - x);
          return (a + 0.05) / (b + 0.05);
        }));
        """,
        selector,
    )


def shown(driver):
    return driver.execute_script(
        "return [...document.querySelectorAll('.case')].filter((one) => !one.hidden).map((one) =>"
        " one.dataset.kind)"
    )


def choose(driver, name, value):
    from selenium.webdriver.support.ui import Select

    Select(driver.find_element("css selector", f"select[name={name}]")).select_by_value(value)


@pytest.mark.requirement("E6")
def test_the_failure_cases_are_filtered(browse, make):
    """30 of the harmful answers are no news (the reference gave 40), and 10 are: the kinds and
    their counts come back in the filter."""
    driver = browse(release_page(make(harmful=20)))
    everything = shown(driver)
    assert {"regression", "failure"} == set(everything)
    choose(driver, "kind", "regression")
    assert shown(driver) == ["regression"] * everything.count("regression")
    assert (
        driver.find_element("css selector", ".filters output").text
        == f"{everything.count('regression')} of {len(everything)} shown"
    )
    choose(driver, "slice", "harm")
    assert 0 < len(shown(driver)) < everything.count("regression")
    choose(driver, "kind", "")
    choose(driver, "slice", "")
    assert shown(driver) == everything


def test_hostile_text_runs_nothing_and_nothing_is_requested(browse, make, complete):
    driver = browse(
        release_page(
            complete(make(harmful=20, text=EVIL, response=EVIL, reason=EVIL, explanation=EVIL))
        )
    )
    assert driver.execute_script("return window.broken === undefined")
    assert [urlsplit(url).scheme for url in requested(driver)] == ["file"]
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert EVIL in driver.find_element("css selector", ".answer.aligned .text").text


def test_the_policy_of_the_page_stops_a_script_that_got_in(browse, make):
    """The escape is one lock; with a script planted behind it, the page's own policy is the
    other."""
    planted = release_page(make()).replace(
        "</main>", "<script>window.broken=1</script><img src='https://evil.example/x.png'></main>"
    )
    driver = browse(planted)
    assert driver.execute_script("return window.broken === undefined")
    blocked = [
        entry["message"]
        for entry in driver.get_log("browser")
        if "Content Security Policy" in entry["message"]
    ]
    assert len(blocked) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_fits_the_screen_and_can_be_read(browse, make, complete, size, scheme):
    driver = browse(
        release_page(complete(make(harmful=20, champion=True, text="w" * 200))), size, scheme
    )
    assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0]
    beyond = "(element) => element.getBoundingClientRect().right > innerWidth + 8"
    assert (
        driver.execute_script(
            f"return [...document.querySelectorAll('main *')].filter({beyond}).map((one) =>"
            " one.outerHTML.slice(0, 120))"
        )
        == []
    )
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.removeprefix("rgb(").rstrip(")").split(","))) > 600) == (
        scheme == "light"
    )
    for selector in (
        "main p",
        ".chip",
        ".strip a",
        ".moved b",
        ".values b",
        ".row i",
        "small",
        "svg text",
        ".soft",
    ):
        assert contrast(driver, selector) >= 4.5, selector


def test_on_paper_everything_is_shown(browse, make):
    driver = browse(release_page(make(harmful=20)), scheme="dark")
    choose(driver, "kind", "regression")
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    assert (
        driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert driver.execute_script(
        "return [...document.querySelectorAll('.case')].every((one) => one.checkVisibility())"
    )
    assert not driver.find_element("css selector", ".filters").is_displayed()
