"""Click through the built site as a reader would, with a real browser and without a network.

A link checker does not see what is shown; playwright drives the browser, and here stands what a reader does.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import project
import street

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FAULTS = """() => [
    ...[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => "not shown: " + i.src.slice(0, 80)),
    ...[...document.querySelectorAll("span.math:not(:has(.katex))")].map(m => "not typeset: " + m.textContent),
    ...[...document.querySelectorAll(".katex-error")].map(m => "bad formula: " + m.textContent),
    ...(document.documentElement.scrollWidth > innerWidth ? ["wider than the window"] : []),
]"""
LOSSES, GENOTYPE = "03_scoring/losses.html", "02_networks/genotype.html"  # the first has formulas, figures, solutions
SEARCHED = {"label_free_score": "03_scoring/scorer.html#label_free_score", "Genotype": f"{GENOTYPE}#genotype",
            "KNOWN_CELLS": "reference.html#networks.genotype.KNOWN_CELLS"}


def program() -> str | None:
    "The browser of this machine, if it has one."
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def opened(size: dict[str, int]) -> Iterator:
    "The site's front page in a window of that size; whatever the browser complains about is an error at the end."
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        site = (project.ROOT / "docs").as_uri() + "/"
        page = browser.new_context(viewport=size, color_scheme="light", base_url=site).new_page()
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: request.failure != "net::ERR_ABORTED"  # the reader went on before
                and complaints.append(f"not loaded: {request.url}"))
        page.goto("index.html")
        yield page
        browser.close()
    assert not complaints, "; ".join(dict.fromkeys(complaints))


def follow(page, link, where: str = "") -> None:
    "Click a link and arrive."
    with page.expect_navigation():
        link.click()
    assert where in page.url, f"a link to {where} leads to {page.url}"


def walk(size: dict[str, int]) -> None:
    "Follow the link to the next page from the front page to the end, and one link back."
    seen: list[str] = []
    with opened(size) as page:
        while True:
            assert page.url not in seen, f"the links to the next page lead back to {page.url}"
            seen.append(page.url)
            page.wait_for_load_state("load")
            problems = page.evaluate(FAULTS)
            assert not problems, f"{page.url}: {'; '.join(problems[:5])}"
            if not page.locator(".nav-page-next a").count():
                break
            follow(page, page.locator(".nav-page-next a"))
        follow(page, page.locator(".nav-page-previous a"), seen[-2])
    wanted = [(project.ROOT / "docs" / street.page_name(name)).with_suffix(".html").as_uri() for name in street.order()]
    assert [url for url in seen if url in wanted] == wanted, f"the links lead through {seen}"
    print(f"         {len(seen)} pages, {size['width']} pixels wide")


def read() -> None:
    "Search leads to names; formula and figure are shown, a solution opens, dark stays dark; a phone's menu leads on."
    from playwright.sync_api import expect

    with opened(DESKTOP) as page:
        for text, where in SEARCHED.items():
            page.locator(".smalldocs-search input").first.fill(text)
            follow(page, page.locator(".search-result").first, where)
        page.goto(LOSSES)
        for shown in (".katex-display", ".cell-output img"):
            expect(page.locator(shown).first).to_be_visible()
        solution = page.locator("details.code-fold").first
        expect(solution.locator("pre")).to_be_hidden()
        solution.locator("summary").click()
        expect(solution.locator("pre")).to_be_visible()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator(".quarto-color-scheme-toggle").first.click()
        expect(page.locator("body")).not_to_have_css("background-color", light)
        page.goto(GENOTYPE)
        expect(page.locator("body")).not_to_have_css("background-color", light)
    with opened(PHONE) as page:
        page.locator(".quarto-btn-toggle").click()
        link = page.locator(".sidebar-item-section").locator(f"a[href$='{LOSSES}']")
        expect(link).to_be_hidden()  # its section is closed
        section = page.locator(".sidebar-item-section", has=page.locator(f"a[href$='{LOSSES}']"))
        section.locator(".sidebar-item-toggle").click()
        follow(page, link, LOSSES)


def browse() -> None:
    "Read the site in docs/ as above, at the widths of a desk and of a phone; fail at the first thing that is wrong."
    if not program():
        raise project.Failure(f"none of {', '.join(BROWSERS)} is here (Debian: apt-get install chromium)")
    from playwright.sync_api import Error

    try:
        walk(DESKTOP)
        walk(PHONE)
        read()
    except (AssertionError, Error) as error:
        raise project.Failure(f"{str(error).strip()} (make docs, then make browse)") from error
