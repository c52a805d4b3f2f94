"""The page in a real browser: Playwright drives a Chromium of the system. Skipped where either is not there."""

from __future__ import annotations

import shutil
import time

import pytest

import alice_repro.media as media
from alice_repro.evaluation.preference.ballot import Ballot
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.server import VoteServer
from alice_repro.evaluation.preference.study import VOTES
from alice_repro.evaluation.preference.votes import VoteLog, read_votes

pytestmark = pytest.mark.slow
DESKTOP, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture
def serve(two_arms, tmp_path):
    """Serve a study of the two arms; gives (study, address)."""
    ends = []

    def start(**settings):
        study = open_study(two_arms, tmp_path / "out", **settings)
        log = VoteLog(study.folder / VOTES)
        server = VoteServer(Ballot(study, log)).__enter__()
        ends.extend([lambda: server.__exit__(), log.close])
        return study, server.url

    yield start
    for end in ends:
        end()


@pytest.fixture
def visit(browser):
    """Open an address in a window of its own; errors and strange requests of any window fail the test."""
    contexts, problems = [], []

    def open_page(url: str, context=None, **options):
        if context is None:
            context = browser.new_context(**({"viewport": DESKTOP} | options))
            context.set_default_timeout(30_000)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("data:", url)) or problems.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def enter(page, name: str) -> None:
    page.fill("#rater", name)
    page.keyboard.press("Enter")
    ready(page)


def ready(page) -> None:
    page.wait_for_selector("fieldset.current button:not(:disabled)")


def count(page) -> str:
    return page.inner_text("#count")


def press(page, key: str, then: str) -> None:
    """Press a key and wait for the next pair."""
    page.keyboard.press(key)
    page.wait_for_function("text => document.getElementById('count').textContent === text", arg=then)
    ready(page)


def votes(study) -> list[str]:
    """Standing choices by place on the screen, in order."""
    kept = []
    for event in read_votes(study.folder / VOTES):
        if event["event"] == "vote":
            kept.append({event["first"]: "1"}.get(event["choice"], "2" if event["choice"] in "ab" else event["choice"]))
        elif event["event"] == "undo":
            kept.pop()
    return kept


def test_the_keyboard_judges_corrects_and_goes_on_after_a_reload(serve, visit):
    study, url = serve()
    page = visit(url)
    enter(page, "Ann")
    press(page, "ArrowLeft", "2 of 6")
    assert votes(study) == ["1"]
    press(page, "ArrowRight", "3 of 6")
    press(page, "ArrowDown", "4 of 6")
    assert votes(study) == ["1", "2", "tie"]
    press(page, "Backspace", "3 of 6")
    assert votes(study) == ["1", "2"]
    caption = page.inner_text("#caption")
    page.reload()
    ready(page)
    assert (count(page), page.inner_text("#caption")) == ("3 of 6", caption)
    page.keyboard.press("1")
    page.keyboard.press("2")  # hasty: the answer is given already
    page.keyboard.press("Enter")  # next, without waiting
    page.wait_for_function("document.getElementById('count').textContent === '4 of 6'")
    ready(page)
    press(page, "s", "5 of 6")
    assert votes(study) == ["1", "2", "1", "skip"]
    press(page, "t", "6 of 6")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#done:visible")
    assert votes(study) == ["1", "2", "1", "skip", "tie", "1"]
    page.keyboard.press("Backspace")
    ready(page)
    assert count(page) == "6 of 6" and len(votes(study)) == 5


def test_the_videos_start_stay_and_loop_together(two_arms, tmp_path, visit):
    """One arm's clips are half a second longer: the pair starts again when the longer one has ended."""
    longer = tmp_path / "longer"
    longer.mkdir()
    for path in two_arms[1].iterdir():
        frames = media.read_video(path)
        media.write_video(longer / path.name, frames.repeat(2, axis=0)[:12], 8)
    study = open_study((two_arms[0], longer), tmp_path / "out")
    log = VoteLog(study.folder / VOTES)
    with VoteServer(Ballot(study, log)) as server:
        page = visit(server.url)
        enter(page, "ann")
        times = []
        end = time.monotonic() + 6
        while time.monotonic() < end:
            times.append(page.evaluate("[...document.querySelectorAll('video')].map(v => [v.currentTime, v.ended])"))
        apart = [abs(one - two) for (one, over), (two, done) in times if not over and not done]
        assert len(apart) > 20
        assert sorted(apart)[int(0.9 * len(apart))] < 0.2
        longest = [max(one, two) for (one, _), (two, _) in times]
        loops = sum(later < earlier - 0.5 for earlier, later in zip(longest, longest[1:], strict=False))
        assert loops >= 2
        assert max(longest) == pytest.approx(1.5, abs=0.15)
        page.keyboard.press("Space")
        time.sleep(0.3)
        still = page.evaluate("[...document.querySelectorAll('video')].map(v => v.currentTime)")
        time.sleep(0.5)
        assert page.evaluate("[...document.querySelectorAll('video')].map(v => v.currentTime)") == still
        page.keyboard.press("r")
        page.wait_for_function("[...document.querySelectorAll('video')].every(v => !v.paused || v.ended)")
    log.close()


def test_two_windows_of_one_rater_and_two_raters(serve, visit):
    study, url = serve()
    one = visit(url)
    enter(one, "ann")
    two = visit(url, context=one.context)
    enter(two, "ANN")
    assert two.inner_text("#caption") == one.inner_text("#caption")
    press(one, "ArrowLeft", "2 of 6")
    press(two, "ArrowRight", "2 of 6")  # refused, and shown the pair that is open
    assert "judged already" in two.inner_text("#alert")
    assert votes(study) == ["1"]
    bob = visit(url)
    enter(bob, "bob")
    press(bob, "ArrowRight", "2 of 6")
    assert {event["rater"] for event in read_votes(study.folder / VOTES)} == {"ann", "bob"}


def test_several_criteria_are_asked_in_turn(serve, visit):
    study, url = serve(criteria=("quality", "motion", "alignment"))
    page = visit(url)
    enter(page, "ann")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("fieldset[data-criterion=motion].current")
    page.click("fieldset[data-criterion=alignment] button[data-choice=tie]")  # out of turn, by mouse
    page.wait_for_selector("fieldset[data-criterion=alignment] [aria-pressed=true]")
    page.reload()
    page.wait_for_selector("fieldset[data-criterion=motion].current button:not(:disabled)")
    press(page, "ArrowRight", "2 of 6")
    events = [event for event in read_votes(study.folder / VOTES) if event["event"] == "vote"]
    assert [event["criterion"] for event in events] == ["quality", "alignment", "motion"]
    assert len({event["pair"] for event in events}) == 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("criteria", [("overall",), ("quality", "motion", "alignment")], ids=["one", "three"])
def test_everything_is_on_the_screen_and_names_no_arm(serve, visit, size, criteria):
    _, url = serve(criteria=criteria)
    page = visit(url, viewport=size, has_touch=size == PHONE, is_mobile=size == PHONE)
    enter(page, "ann")
    boxes = [element.bounding_box() for element in page.query_selector_all("#judge button, figure, #caption, header")]
    assert len(boxes) == 3 * len(criteria) + 5 + 4
    for box in boxes:
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
        assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
    buttons = [b.bounding_box() for b in page.query_selector_all("#questions button")]
    assert min(box["height"] for box in buttons) >= 38
    for figure in page.query_selector_all("figure"):
        assert figure.bounding_box()["height"] > 120
    html = page.content().lower() + page.title().lower() + str(page.evaluate("JSON.stringify(sessionStorage)"))
    assert not any(secret in html for secret in ("teacher", "student", ".mp4"))
    page.tap("#questions button") if size == PHONE else page.click("#questions button")
    page.wait_for_selector("[aria-pressed=true]")


def test_every_control_has_a_name_and_shows_its_focus(serve, visit):
    _, url = serve()
    page = visit(url)
    enter(page, "ann")
    names = []
    for _ in range(6):  # Back and Next are not open yet
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    joined = " ".join(names)
    assert all(word in joined for word in ("Video 1", "About the same", "Video 2", "Replay", "Pause", "Skip"))
    assert page.get_attribute("html", "lang") == "en"


def test_a_video_that_does_not_play_can_be_skipped_and_not_judged(serve, visit):
    study, url = serve()
    page = visit(url)
    page.route("**/clip/*", lambda route: route.fulfill(status=200, content_type="video/mp4", body=b"no video"))
    page.fill("#rater", "ann")
    page.keyboard.press("Enter")
    page.wait_for_selector("#alert:visible")
    assert "does not play" in page.inner_text("#alert")
    page.keyboard.press("ArrowLeft")
    assert page.is_disabled("#questions button") and votes(study) == []
    page.unroute("**/clip/*")
    press(page, "s", "2 of 6")
    assert votes(study) == ["skip"] and page.is_hidden("#alert")


def test_a_server_that_went_away_is_told(serve, visit):
    study, url = serve()
    page = visit(url)
    enter(page, "ann")
    page.route("**/api/*", lambda route: route.abort())
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#alert:visible")
    assert "may not be saved" in page.inner_text("#alert") and votes(study) == []
    page.unroute("**/api/*")
    press(page, "ArrowLeft", "2 of 6")
    assert votes(study) == ["1"]
