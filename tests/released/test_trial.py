"""The page of `discretail plan --try` in a real browser."""

import json

import pytest
from conftest import ROOT, discretail, job
from test_page import PHONE, Page, drawn

REPORTS = """
[[report]]
name = "market"
keys = "public"
levels = [["region"], ["region", "category", "month"]]
insights = ["customers", "sales", "average_ticket"]
bounds = { customers = [6, 12], payments = [60, 60], sales = [9000, 6000] }
[[report]]
name = "merchants"
keys = "private"
cells_max = 64
levels = [["merchant"]]
insights = ["customers"]
"""

NAME = "trial.html"


@pytest.fixture(scope="session")
def trial(tmp_path_factory):
    """The page and what was told as JSON."""
    folder = tmp_path_factory.mktemp("trial")
    discretail("sample", folder / "demo", "--payments", 60_000, "--users", 4_000, "--merchants", 200)
    text = job("trial", REPORTS, ROOT / "data/payments/*.parquet", "demo/merchants.parquet")
    (folder / "trial.toml").write_text(text)
    told = discretail("plan", "trial.toml", "--try", "demo/payments", "--runs", 3, "--out", NAME, "--json", folder=folder)
    return folder, json.loads(told)


def show(page, level, insight):
    page.tab.click(f'section[data-level="{level}"] input[value="{insight}"] + span')


def figures(page, level):
    return page.tab.query_selector_all(f'section[data-level="{level}"] article.figure')


def numbers(figure):
    figure.eval_on_selector("details", "details => { details.open = true }")
    rows = figure.query_selector_all("details tbody tr")
    return [[cell.inner_text() for cell in row.query_selector_all("th, td")] for row in rows]


def test_every_chart_is_drawn_for_every_insight(browser, trial):
    folder, told = trial
    page = Page(browser, folder, name=NAME)
    names = [setting["name"] for setting in told["settings"]]
    assert len(names) == 6
    for at, level in enumerate(told["levels"]):
        insights = [each["insight"] for each in told["settings"][0]["levels"][at]["insights"]]
        for insight in insights:
            if len(insights) > 1:
                show(page, level["level"], insight)
            page.screenshot(f"trial-{level['level']}-{insight}")
            found = figures(page, level["level"])
            assert len(found) == (3 if level["selection"] == "public" else 4)
            for figure in found:
                assert drawn(figure) > 10, figure.query_selector("h3").inner_text()
                assert [row[0] for row in numbers(figure)][:len(names)] == names
    page.close()


def test_numbers_are_those_that_were_told(browser, trial):
    folder, told = trial
    page = Page(browser, folder, name=NAME)
    show(page, "market.region", "sales")
    for figure in figures(page, "market.region"):
        figure.eval_on_selector("details", "details => { details.open = true }")
    _, errors, _ = figures(page, "market.region")
    for row, setting in zip(numbers(errors), told["settings"], strict=True):
        [sales] = [each for each in setting["levels"][0]["insights"] if each["insight"] == "sales"]
        for text, spread in [(row[1], sales["estimate"]["wape"]), (row[2], sales["noised"]["wape"])]:
            assert abs(float(text.split("%")[0]) / 100 / spread["middle"] - 1) < 0.01, row
    text = page.tab.inner_text("body")
    assert "exact and has no protection" in text and "ε = 4, δ = 1e-6" in text and told["delta"] == "1e-6"
    # Insights are called as on the pages of releases, and axes say what they are of.
    assert "Average ticket" in text and "exact customers of the cell" in text
    page.close()


def test_it_is_dark_narrow_and_printed_as_releases_are(browser, trial, tmp_path):
    folder, _ = trial
    background = "getComputedStyle(document.body).backgroundColor"
    page = Page(browser, folder, name=NAME, color_scheme="dark")
    dark = page.tab.evaluate(background)
    page.screenshot("trial-dark")
    page.tab.click("#theme")
    assert page.tab.evaluate(background) != dark
    page.close()
    page = Page(browser, folder, name=NAME, viewport=PHONE)
    page.screenshot("trial-phone")
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.close()
    page = Page(browser, folder, name=NAME)
    page.tab.emulate_media(media="print")
    page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = page.tab.eval_on_selector_all(".chart svg", "charts => charts.map(chart => chart.clientWidth)")
    assert len(widths) == 10 and max(widths) <= 690, widths
    page.tab.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    page.close()
