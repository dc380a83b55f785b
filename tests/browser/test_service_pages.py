"""The pages in a real Chromium: judging by keys and by mouse, on a desk and on a phone,
adjudicating, and hostile text."""

import http.server
import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from plumbline.data.adjudication.decisions import Adjudications

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DESK, PHONE = (1180, 860), (390, 844)

HOSTILE = (
    "<script>window.broken=1;fetch('https://evil.example/a')</script>",
    "<img src=x onerror=\"window.broken=2\"><svg onload='window.broken=3'>",
    "'\"><iframe src=javascript:parent.broken=4></iframe>{{7*7}}${7*7}",
    "![beacon](https://evil.example/b.png) [click](javascript:window.broken=5)",
    (
        "</textarea></div></form><style>body{display:none}</style><link rel=stylesheet"
        " href=https://evil.example/c.css>"
    ),
    "\u202egnp.exe\u2066 \u200bzero\U000e0041 =cmd|' /C calc'!A1",
)


@pytest.fixture
def browse(chromium, served, home):
    """Open a page as somebody who is signed in; a window of the given size."""
    from selenium.webdriver.common.by import By

    chromium.delete_all_cookies()
    for log in ("browser", "performance"):
        chromium.get_log(log)  # what tests before did

    def browse(name, *scopes, size=DESK, path=None):
        metrics = {
            "width": size[0],
            "height": size[1],
            "deviceScaleFactor": 1,
            "mobile": size == PHONE,
        }
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chromium.get(f"{served}/login")
        chromium.execute_script("sessionStorage.clear()")
        chromium.find_element(By.ID, "key").send_keys(home.key(name, *scopes))
        chromium.find_element(By.CSS_SELECTOR, "button.main").click()
        until(chromium, lambda driver: not driver.current_url.endswith("/login"))
        if path is not None:
            chromium.get(served + path)
        return chromium

    yield browse
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def beacon():
    """Another server, which remembers who asked it for what."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.hits.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hits, server.address = [], f"http://127.0.0.1:{server.server_address[1]}/beacon.png"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_beacon_can_be_hit(beacon):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(beacon.address, timeout=10)
    assert beacon.hits == ["/beacon.png"]


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def find(driver, selector):
    from selenium.webdriver.common.by import By

    return driver.find_element(By.CSS_SELECTOR, selector)


def touch(driver, selector):
    """Bring an element to the middle of the window, as a person does, and click it."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", find(driver, selector))
    find(driver, selector).click()


def until(driver, condition):
    """Wait until the page is loaded, its scripts too, and the condition holds; a page that goes
    away meanwhile is looked at again."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    def holds(driver):
        return driver.execute_script("return document.readyState") == "complete" and condition(
            driver
        )

    return WebDriverWait(driver, 20, ignored_exceptions=(WebDriverException,)).until(holds)


def judged(driver, count):
    until(
        driver,
        lambda driver: find(driver, ".progress [role=status]").text.startswith(f"{count} judged"),
    )


def problem(driver):
    return until(
        driver,
        lambda driver: find(driver, ".problem").is_displayed() and find(driver, ".problem").text,
    )


def shown(driver):
    from selenium.webdriver.common.by import By

    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, ".response > .text")]


def contents(driver, selector):
    """The text of the elements as the document holds it, shown or not."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)",
        selector,
    )


def requested(driver):
    """Addresses that the browser asked for, from the log of its network."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.requirement("D7", "S8")
def test_judging_by_keys_alone(browse, home, new_task):
    """2 chooses the second response, two steps to the right say `clearly`, Enter saves; the next
    task needs no new consent."""
    from selenium.webdriver.common.keys import Keys

    home.tasks.add([new_task("One?"), new_task("Two?")], NOW)
    driver = browse("rater-01")
    first = shown(driver)
    press(driver, "2", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    assert "needs your consent" in problem(driver)
    press(driver, Keys.SPACE, Keys.ENTER)  # the box that is missing has the focus
    judged(driver, 1)
    press(driver, "0", Keys.ENTER)
    judged(driver, 2)
    assert "Nothing left to judge" in find(driver, "main").text
    by_strength = {event.judgment.strength: event for event in home.events()}
    assert set(by_strength) == {0, 2}
    assert by_strength[2].winner == first[1]
    assert [response.text for response in by_strength[2].responses] == first
    assert by_strength[0].judgment.preferred is None
    assert {event.annotator for event in by_strength.values()} == {"rater-01"}


def test_judging_on_a_phone_by_touch(browse, home, new_task):
    """On 390 points nothing stands beside the screen, everything that is touched is at least 44
    points high, and a whole judgment can be given."""
    home.tasks.add([new_task("How? " + "long" * 100, responses=("x" * 300, "A word. " * 80))], NOW)
    driver = browse("rater-01", size=PHONE)
    driver.execute_script("document.getElementById('more').open = true")
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    heights = driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((element) =>"
        " element.getBoundingClientRect().height)",
        ".pick, .segments label, .scores label, .bar .button, .bar button, select, textarea,"
        " .agree",
    )
    assert len(heights) > 60
    assert min(heights) >= 44
    for selector in (
        "input[name=preferred][value='0']",
        "input[name=strength][value='3']",
        "input[name=rating-safe-1][value='5']",
        "input[name=rating-helpful-0][value='2']",
        "input[name=acceptable-1][value=no]",
        "#agree",
    ):
        touch(driver, selector)
    find(driver, "#clause option[value=answer-benign]").click()
    find(driver, "#reason").send_keys("Because 1 is 2.")
    find(driver, "button.main").click()
    judged(driver, 1)
    [event] = home.events()
    assert (event.judgment.preferred, event.judgment.strength, event.clause, event.reason) == (
        0,
        3,
        "answer-benign",
        "Because 1 is 2.",
    )
    assert {(rating.response, rating.dimension, rating.score) for rating in event.ratings} == {
        (1, "safe", 5),
        (0, "helpful", 2),
    }
    assert event.acceptable == (None, False)


def test_the_page_says_what_is_missing_and_stores_nothing(browse, home, new_task):
    from selenium.webdriver.common.keys import Keys

    home.tasks.add([new_task()], NOW)
    driver = browse("rater-01")
    press(driver, Keys.ENTER)
    assert problem(driver) == "Choose the better response, or neither."
    press(driver, "1", Keys.ENTER)
    assert problem(driver) == "Say by how much it is better."
    assert home.store.open_events()[0] == 0


def test_skipping_brings_the_next_task(browse, home, new_task):
    home.tasks.add([new_task("One?"), new_task("Two?")], NOW)
    driver = browse("rater-01")
    first = find(driver, "#judgment").get_attribute("data-task")
    press(driver, "s")
    until(driver, lambda driver: find(driver, "#judgment").get_attribute("data-task") != first)
    press(driver, "s")
    until(driver, lambda driver: find(driver, "#judgment").get_attribute("data-task") == first)


def test_three_responses_are_ranked(browse, home, new_task):
    home.tasks.add([new_task(responses=("one", "two", "three"))], NOW)
    driver = browse("rater-01")
    texts = shown(driver)
    for place, text in enumerate(("three", "one", "two"), start=1):
        find(
            driver, f"select[data-response='{texts.index(text)}'] option:nth-child({place + 1})"
        ).click()
    touch(driver, "#agree")
    find(driver, "button.main").click()
    judged(driver, 1)
    [event] = home.events()
    assert [[event.responses[index].text for index in place] for place in event.judgment.order] == [
        ["three"],
        ["one"],
        ["two"],
    ]


def test_nobody_sees_who_wrote_a_response(browse, home, new_task):
    home.tasks.add([new_task()], NOW)
    source = browse("rater-01").page_source
    assert not [
        word
        for word in ("policy-", "chatml", "temperature", "prompt-team", "data-lead")
        if word in source
    ]


@pytest.mark.threat("S1")
def test_hostile_text_is_shown_as_text(browse, home, served, new_task, new_item):
    """Markup in prompts, responses, votes and reasons is seen as written, runs nothing, and sends
    the browser nowhere else."""
    home.tasks.add(
        [new_task(f"{number} {text}", (text, text + "!")) for number, text in enumerate(HOSTILE)],
        NOW,
    )
    home.publish_queue(
        [
            new_item(f"{number} {text}", text, text + "!", reason=text)
            for number, text in enumerate(HOSTILE)
        ]
    )
    driver = browse("rater-01", "collect", "adjudicate")
    requested(driver)
    seen = set()
    for path, form in (("/collect", "judgment"), ("/adjudicate", "decision")):
        driver.get(served + path)
        for _ in HOSTILE:
            number, text = driver.execute_script(
                "return document.querySelector('.turn.user .text').textContent"
            ).split(" ", 1)
            assert text == HOSTILE[int(number)]
            assert sorted(contents(driver, ".response > .text")) == [text, text + "!"]
            assert contents(driver, "td.text") == ([text, text] if form == "decision" else [])
            assert driver.execute_script("return window.broken ?? null") is None
            assert (
                contents(
                    driver, "main iframe, main img, main svg, main script, main style, main link"
                )
                == []
            )
            assert find(driver, "main").is_displayed()
            seen.add((form, int(number)))
            following = driver.execute_script(
                "return (document.getElementById('skip') ?? document.getElementById('next'))?.href"
                " ?? null"
            )
            driver.get(following or served + path)
    assert seen == {
        (form, number) for form in ("judgment", "decision") for number in range(len(HOSTILE))
    }
    addresses = requested(driver)
    assert len(addresses) > 2 * len(HOSTILE)
    assert {urlsplit(address).netloc for address in addresses} == {urlsplit(served).netloc}
    assert [
        entry
        for entry in driver.get_log("browser")
        if "Content Security Policy" in entry["message"]
    ] == []


@pytest.mark.threat("S1")
def test_a_script_that_got_into_a_page_would_not_run(browse, home, beacon, new_task):
    """The policy, not only the escaping: an inline script that is put into the page by hand stays
    dead, and so does a request to another host."""
    home.tasks.add([new_task()], NOW)
    driver = browse("rater-01")
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1';"
        " document.body.append(s)"
    )
    driver.execute_script(
        "const i = new Image(); i.onerror = () => { window.refused = 1 }; i.src = arguments[0];"
        " document.body.append(i)",
        beacon.address,
    )
    until(driver, lambda driver: driver.execute_script("return window.refused") == 1)
    assert driver.execute_script("return window.broken ?? null") is None
    assert beacon.hits == []
    assert (
        len(
            [
                entry
                for entry in driver.get_log("browser")
                if "Content Security Policy" in entry["message"]
            ]
        )
        == 2
    )


def test_adjudicating_by_keys(browse, home, new_item):
    from selenium.webdriver.common.keys import Keys

    items = [new_item("One?"), new_item("Two?")]
    home.publish_queue(items)
    driver = browse("Jane Doe", "adjudicate")
    assert driver.current_url.endswith("/adjudicate")
    assert "2 that wait" in find(driver, ".progress").text
    assert "You sign as Jane Doe" in find(driver, ".bar").text
    item = find(driver, "#decision").get_attribute("data-item")
    press(driver, "2")
    find(driver, "button.main").click()
    assert problem(driver) == "Choose the clause that decides."
    find(driver, "#clause option[value=answer-benign]").click()
    find(driver, "button.main").click()
    assert problem(driver) == "Give a reason: it is kept beside your name."
    find(driver, "#reason").send_keys("A benign question is answered.")
    find(driver, "#reason").send_keys(Keys.CONTROL, Keys.ENTER)
    until(driver, lambda driver: find(driver, "#decision").get_attribute("data-item") != item)
    [kept] = Adjudications(home.store.database).all()
    assert (kept.item, kept.decision, kept.clause, kept.by, kept.reason) == (
        item,
        "second",
        "answer-benign",
        "Jane Doe",
        "A benign question is answered.",
    )
    assert "1 that wait" in find(driver, ".progress").text
    press(driver, "x")
    assert find(driver, "input[value=exclude]").is_selected()


def test_adjudicating_on_a_phone(browse, home, new_item):
    """On 390 points nothing stands beside the screen, whatever the words, and what is touched is at
    least 44 points high."""
    home.publish_queue([new_item("p" * 400, "a" * 400, "b " * 400, reason="r" * 400)])
    driver = browse("Jane Doe", "adjudicate", size=PHONE)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    heights = driver.execute_script(
        "return [...document.querySelectorAll('.pick, select, textarea, .bar"
        " button')].map((element) => element.getBoundingClientRect().height)"
    )
    assert len(heights) == 7
    assert min(heights) >= 44
    touch(driver, "input[value=exclude]")
    touch(driver, "#clause option[value=refuse-harm]")
    find(driver, "#reason").send_keys("Nobody can judge this.")
    find(driver, "button.main").click()
    until(driver, lambda driver: "Nothing waits for a decision" in find(driver, "main").text)
    assert [one.decision for one in Adjudications(home.store.database).all()] == ["exclude"]


def test_signing_out_and_a_wrong_key(browse, home, served, new_task):
    home.tasks.add([new_task()], NOW)
    driver = browse("rater-01")
    find(driver, "#sign-out").click()
    until(driver, lambda driver: driver.current_url.endswith("/login"))
    driver.get(f"{served}/collect")
    assert driver.current_url.endswith("/login")
    find(driver, "#key").send_keys("plumbline_wrong")
    find(driver, "button.main").click()
    assert "this key is unknown or was revoked" in problem(driver)


def test_a_key_without_the_scope_of_a_page_gets_a_page_that_says_so(browse):
    driver = browse("watcher", "read")
    assert "the key of watcher may read; this needs collect" in find(driver, "main").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_reading_needs(
    browse, home, served, new_task, new_item, scheme
):
    """WCAG 2.2 AA: the luminance ratio of text to what is behind it is at least 4.5, of the edge of
    a control to the page at least 3."""
    home.tasks.add([new_task()], NOW)
    home.publish_queue([new_item()])
    driver = browse("rater-01", "collect", "adjudicate")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {
            "features": [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
        },
    )
    try:
        for path in ("/collect", "/adjudicate", "/login"):
            driver.get(served + path)
            driver.execute_script(
                "document.querySelectorAll('details').forEach(d => { d.open = true });"
                " document.querySelector('input[type=radio]')?.click()"
            )
            texts = driver.execute_script(CONTRASTS)
            assert len(texts) >= 6
            assert [entry for entry in texts if entry[1] < 4.5] == []
            edges = driver.execute_script(EDGES)
            assert [edge for edge in edges if edge[1] < 3] == []
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_control_has_a_name_and_the_focus_is_seen(browse, home, served, new_task, new_item):
    """The accessibility tree of the browser names every control, and the Tab key leads to each with
    an outline of 3 points."""
    from selenium.webdriver.common.keys import Keys

    home.tasks.add([new_task()], NOW)
    home.publish_queue([new_item()])
    driver = browse("rater-01", "collect", "adjudicate")
    for path in ("/collect", "/adjudicate"):
        driver.get(served + path)
        driver.execute_script(
            "document.querySelectorAll('details').forEach(d => { d.open = true })"
        )
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        controls = [
            node
            for node in nodes
            if node.get("role", {}).get("value")
            in (
                "radio",
                "checkbox",
                "button",
                "combobox",
                "textbox",
                "link",
                "radiogroup",
                "progressbar",
            )
        ]
        assert len(controls) > 8
        assert [
            node["role"]["value"]
            for node in controls
            if not node.get("name", {}).get("value", "").strip()
        ] == []
        press(driver, *[Keys.TAB] * 5)
        outline = driver.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e.closest('label') ?? e);"
            " return [e.tagName, s.outlineStyle, s.outlineWidth]"
        )
        assert outline[1:] == ["solid", "3px"], outline


_COLORS = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const channels = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ratio = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const color = channels(getComputedStyle(e).backgroundColor);
    if (color[3] === 255) return color;
  }
  return [255, 255, 255];
};
const alpha = (e) => e === null ? 1 : Number(getComputedStyle(e).opacity) * alpha(e.parentElement);
const over = (top, a, under) => [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a));
const written = (e) => e.checkVisibility() && [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
"""
CONTRASTS = (
    _COLORS
    + """
return [...document.querySelectorAll('body *')].filter(written).filter((e) => !e.closest('svg, script, :disabled, label:has(:disabled), .jump, option'))
  .map((e) => [e.textContent.trim().slice(0, 30), ratio(over(channels(getComputedStyle(e).color), alpha(e), behind(e)), behind(e))]);
"""
)
EDGES = (
    _COLORS
    + """
return [...document.querySelectorAll('.pick, .segments, .scores label, select, textarea, input[type=password], .bar .button')]
  .filter((e) => e.checkVisibility())
  .map((e) => [e.className || e.tagName, ratio(channels(getComputedStyle(e).borderTopColor), behind(e.parentElement))]);
"""
)
