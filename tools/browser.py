"""Click through the built site as a reader would, with a real browser and without a network: a link checker does not see what is shown."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import project
import street

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SOUND = """() => [
    ...Array.from(document.images).filter(i => !(i.complete && i.naturalWidth)).map(i => "picture not shown: " + i.src.slice(0, 80)),
    ...Array.from(document.querySelectorAll("span.math")).filter(m => !m.querySelector(".katex")).map(m => "not typeset: " + m.textContent),
    ...Array.from(document.querySelectorAll(".katex-error")).map(m => "bad formula: " + m.textContent),
    ...(document.documentElement.scrollWidth > innerWidth ? ["wider than the window"] : []),
]"""
ABORTED = "net::ERR_ABORTED"  # the reader went on before it was there
LOSSES, GENOTYPE = "03_scoring/losses.html", "02_networks/genotype.html"  # the first has formulas, figures and solutions
SEARCHED = {
    "label_free_score": "03_scoring/scorer.html#label_free_score", "Genotype": f"{GENOTYPE}#genotype",
    "KNOWN_CELLS": "reference.html#networks.genotype.KNOWN_CELLS",
}


class Fault(Exception):
    "What a reader would have stumbled over."


def program() -> str | None:
    "The browser of this machine, if it has one."
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def expect(holds: object, problem: str) -> None:
    "Raise a `Fault` unless it holds."
    if not holds:
        raise Fault(problem)


@contextmanager
def opened(size: dict[str, int]) -> Iterator:
    "A page of a browser in a window of that size; whatever the browser complains about is a fault at the end."
    from playwright.sync_api import sync_playwright

    complaints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        page = browser.new_context(viewport=size, color_scheme="light").new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}") if request.failure != ABORTED else None)
        yield page
        browser.close()
    expect(not complaints, "; ".join(dict.fromkeys(complaints)))


def follow(page, link) -> None:
    "Click a link and arrive."
    with page.expect_navigation():
        link.click()


def walk(site: Path, size: dict[str, int], shots: Path | None = None) -> int:
    "Follow the link to the next page from the front page to the end; return the number of pages."
    seen: list[str] = []
    with opened(size) as page:
        page.goto((site / "index.html").as_uri())
        while True:
            here = page.url.removeprefix(site.as_uri() + "/").split("#")[0]
            expect(here not in seen, f"the links to the next page lead back to {here}")
            seen.append(here)
            page.wait_for_load_state("load")
            problems = page.evaluate(SOUND)
            expect(not problems, f"{here}: {'; '.join(problems[:5])}")
            if shots:
                page.screenshot(path=shots / f"{here.replace('/', '-').removesuffix('.html')}-{size['width']}.png")
            following = page.locator(".nav-page-next a")
            if not following.count():
                break
            follow(page, following)
        wanted = [street.page_name(name).replace(".ipynb", ".html") for name in street.order()]
        expect([name for name in seen if name in wanted] == wanted, f"the links lead through {seen}")
        follow(page, page.locator(".nav-page-previous a"))
        expect(page.url.endswith(seen[-2]), f"back from {seen[-1]} leads to {page.url}")
    return len(seen)


def read(site: Path) -> None:
    "Search leads to names; a formula and a figure are shown, a solution opens, the page turns dark and stays so; a phone's menu leads on."
    with opened(DESKTOP) as page:
        for text, where in SEARCHED.items():
            page.goto((site / "index.html").as_uri())
            page.locator(".smalldocs-search input").first.fill(text)
            page.locator(".search-result").first.wait_for()
            follow(page, page.locator(".search-result").first)
            expect(where in page.url, f"a search for {text} leads to {page.url.removeprefix(site.as_uri())}, not to {where}")
        page.goto((site / LOSSES).as_uri())
        for shown in (".katex-display", ".cell-output img"):
            expect(page.locator(shown).first.is_visible(), f"{LOSSES}: no {shown} is shown")
        solution = page.locator("details.code-fold").first
        expect(not solution.locator("pre").is_visible(), f"{LOSSES}: a solution is open before anyone asks")
        solution.locator("summary").click()
        expect(solution.locator("pre").is_visible(), f"{LOSSES}: a solution does not open")
        ground = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(ground)
        page.locator(".quarto-color-scheme-toggle").first.click()
        page.wait_for_function(f"{ground} !== '{before}'")
        page.goto((site / GENOTYPE).as_uri())
        expect(page.evaluate(ground) != before, "the next page is light again")
    with opened(PHONE) as page:
        page.goto((site / "index.html").as_uri())
        page.locator(".quarto-btn-toggle").click()
        follow(page, page.locator(f"#quarto-sidebar a[href$='{LOSSES}']"))
        expect(LOSSES in page.url, f"the menu leads to {page.url}")


def browse(site: Path, shots: Path | None = None) -> None:
    "Read the site as above, at the widths of a desk and of a phone; raise a `Fault` at the first thing that is wrong."
    expect(program(), f"none of {', '.join(BROWSERS)} is on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import Error

    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    try:
        for size in (DESKTOP, PHONE):
            print(f"         {walk(site, size, shots)} pages, {size['width']} pixels wide")
        read(site)
    except Error as error:  # the browser's own: no start, something did not appear in time
        raise Fault(str(error).strip().splitlines()[0]) from error


def command(shots: Path | None) -> int:
    "`make browse`: read the site in docs/, print what is wrong, return the exit code."
    try:
        browse(project.ROOT / "docs", shots)
    except Fault as fault:
        print(f"FAILED: {fault}")
        return 1
    return 0
