"""The page in a real browser: what a reader clicks, types and sees, and that nothing gets out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.browser import open_browser, visit
from tests.report.hostile import HOSTILE_NAMES, hostile_results
from tests.report.html.reports import convolution, made_up, probed

from gradproof import Report
from gradproof.report.html import render_html
from gradproof.report.store import Result

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

#: Of every kind of unfolding: name, shape, the wrong entry, and the image in which it lies.
SHAPES = {
    "scalar": ((), 0, "[]", ""),
    "vector": ((300,), 70, "[70]", ""),
    "matrix": ((30, 40), 70, "[1, 30]", ""),
    "pointwise": ((16, 8, 1, 1), 70, "[8, 6, 0, 0]", ""),
    "kernels": ((8, 4, 3, 3), 70, "[1, 3, 2, 1]", "[1, 3]"),
    "kernels_last": ((3, 3, 8, 16), 70, "[0, 0, 4, 6]", "[:, :, 4, 6]"),
    "many_kernels": ((64, 32, 3, 3), 70, "[0, 7, 2, 1]", "[0, 7]"),
    "three": ((4, 6, 5), 70, "[2, 2, 0]", "[2]"),
    "five": ((2, 2, 2, 4, 5), 70, "[0, 1, 1, 2, 0]", "[0, 1, 1]"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def written(folder: Path) -> Callable[[str], Path]:
    """The file of a page, written once."""
    results: dict[str, Callable[[], list[Result]]] = {
        "convolution": lambda: [Result("net", convolution(), reproduce="pytest -k net")],
        "probed": lambda: [Result("", probed())],
        "several": lambda: [Result("good", probed()), Result("bad", convolution())],
        "hostile": hostile_results,
        "shapes": lambda: [Result("", shapes())],
        "large": lambda: [
            Result("", made_up({"w": (64, 16, 10, 10)}, lambda _, i: i // 100 == 37))
        ],
    }

    @cache
    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        path.write_text(render_html(results[name]()), "utf-8")
        return path

    return write


def shapes() -> Report:
    wrong = np.array([flat for _, flat, *_ in SHAPES.values()])
    plain = {name: shape for name, (shape, *_) in SHAPES.items()}
    return made_up(plain, lambda tensor, flat: wrong[tensor] == flat)


def rows(page: Page) -> list[str]:
    """The tensors that the table shows, in its order."""
    return page.locator("#r0-tensors .sortable tbody tr:not([hidden]) > th").all_inner_texts()


def panel(page: Page) -> Locator:
    return page.locator("#r0-tensors [data-panel]")


def heat_map(page: Page) -> Locator:
    return panel(page).get_by_role("application")


def test_the_worst_tensor_is_open_and_its_wrong_kernel_the_hottest(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("convolution")) as page:
        assert panel(page).get_by_role("heading", level=4).inner_text() == "conv.weight"
        picture = heat_map(page)
        assert picture.get_attribute("data-hottest") == "[2, 1]"
        assert "Hottest kernel [2, 1]" in (picture.get_attribute("aria-label") or "")
        assert panel(page).get_by_text("Hottest kernel [2, 1]").is_visible()
        for quantity in ("relative error", "error over bar"):
            panel(page).get_by_role("button", name=quantity).click()
            assert picture.get_attribute("data-hottest") == "[2, 1]"
        # The picture itself: in light colours the wrong kernel is dark, and the others are pale.
        shades = picture.evaluate(
            """canvas => {
                const context = canvas.getContext("2d");
                const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
                let dark = 0;
                for (let i = 0; i < data.length; i += 4) {
                    dark += data[i + 3] === 255 && data[i] < 90 && data[i + 1] < 60;
                }
                return [dark, canvas.width * canvas.height];
            }"""
        )
        assert 9 * 12**2 < shades[0] < 9 * 17**2


def test_tensors_are_sorted_by_the_headers_and_filtered_by_name_and_verdict(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("convolution")) as page:
        model = ["conv.weight", "conv.bias", "fc.weight", "scale"]
        assert rows(page) == model
        header = page.locator("#r0-tensors").get_by_role("columnheader", name="entries").first
        assert header.get_attribute("aria-sort") == "none"
        header.get_by_role("button").click()
        assert rows(page) == ["scale", "conv.bias", "fc.weight", "conv.weight"]
        assert header.get_attribute("aria-sort") == "ascending"
        header.get_by_role("button").press("Enter")
        assert rows(page) == ["conv.weight", "fc.weight", "conv.bias", "scale"]
        assert header.get_attribute("aria-sort") == "descending"
        page.locator("#r0-tensors").get_by_role("button", name="tensor", exact=True).click()
        assert rows(page) == sorted(model)
        # Those under a common header are sorted by their own column.
        page.locator("#r0-tensors").get_by_role("button", name="max", exact=True).first.click()
        least = page.locator("#r0-tensors tbody tr").first.locator("td").nth(6).inner_text()
        digits = [tensor.digits_agree.maximum for tensor in convolution().tensors.values()]
        assert least == f"{min(digits):.1f}"

        section = page.locator("#r0-tensors")
        section.get_by_label("Name").fill("CONV")
        assert sorted(rows(page)) == ["conv.bias", "conv.weight"]
        assert section.get_by_text("2 of 4 tensors").is_visible()
        section.get_by_label("Verdict").first.select_option("fail")
        assert rows(page) == ["conv.weight"]
        section.get_by_label("Name").fill("no such tensor")
        assert rows(page) == []


def test_a_tensor_is_opened_looked_at_and_closed_with_the_keyboard(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("convolution")) as page:
        heat_map(page).hover(position={"x": 4, "y": 20})
        assert page.locator(".readout").inner_text().startswith("conv.weight[0, 0, 0, 0]: analytic")
        page.get_by_role("link", name="fc.weight").first.focus()
        page.keyboard.press("Enter")
        title = panel(page).get_by_role("heading", name="fc.weight", level=4)
        assert title.evaluate("node => node === document.activeElement")
        assert page.url.endswith("#r0-tensor-2")
        heat_map(page).focus()
        assert "fc.weight[" in page.locator(".readout").inner_text()
        for key in ["ArrowLeft"] * 5 + ["ArrowUp"] * 5:
            page.keyboard.press(key)
        assert page.locator(".readout").inner_text().startswith("fc.weight[0, 0]: analytic ")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        said = page.locator(".readout").inner_text()
        assert said.startswith("fc.weight[1, 1]: analytic ")
        assert "attainable; match" in said
        panel(page).get_by_role("button", name="Close").press("Enter")
        assert panel(page).is_hidden()
        link = page.get_by_role("link", name="fc.weight").first
        assert link.evaluate("node => node === document.activeElement")


def test_an_address_leads_to_a_tensor(browser: Browser, written: Callable[[str], Path]) -> None:
    with visit(browser, written("several"), "#r1-tensor-1") as page:
        title = page.locator("#r1-tensors [data-panel] h4")
        assert title.inner_text() == "conv.bias"
        page.get_by_role("link", name="good").click()
        page.locator("#r0 .verdict").first.wait_for()


def test_entries_are_paged_sorted_and_filtered(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("convolution")) as page:
        table = panel(page).locator(".entries")
        lines = table.locator("tbody tr")
        assert lines.count() == 10
        assert lines.first.locator("th").inner_text().startswith("[2, 1, ")
        assert table.get_by_text("1 to 10 of 108").is_visible()
        table.get_by_label("Verdict").select_option("mismatch")
        assert table.get_by_text("1 to 9 of 9").is_visible()
        table.get_by_label("Verdict").select_option("match")
        table.get_by_role("button", name="entry", exact=True).click()
        table.get_by_role("button", name="Next").click()
        assert lines.first.locator("th").inner_text() == "[0, 1, 0, 1]"
        table.get_by_role("button", name="digits agree").click()
        agree = [float(text) for text in lines.locator("td:nth-child(8)").all_inner_texts()]
        assert agree == sorted(agree, reverse=True)
        page.locator("#r0 [data-all-entries] summary").first.click()
        every = page.locator("#r0 [data-all-entries] .entries").first
        every.get_by_text("1 to 10 of 133").wait_for()
        assert every.locator("tbody th").first.inner_text().startswith("conv.weight[2, 1, ")


def test_the_theme_can_be_chosen(browser: Browser, written: Callable[[str], Path]) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, written("convolution"), scheme="dark") as page:
        dark, drawn = page.evaluate(background), heat_map(page).screenshot()
        page.get_by_role("button", name="Light").click()
        light = page.evaluate(background)
        assert light != dark
        assert heat_map(page).screenshot() != drawn
        page.get_by_role("button", name="Dark").click()
        assert page.evaluate(background) == dark
        page.get_by_role("button", name="Light").click()
        page.get_by_role("button", name="Auto").click()
        assert page.evaluate(background) == dark


def test_every_shape_is_unfolded_and_its_wrong_entry_found(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("shapes")) as page:
        for number, (name, (_, _, entry, image)) in enumerate(SHAPES.items()):
            page.evaluate(f"location.hash = 'r0-tensor-{number}'")
            panel(page).get_by_role("heading", name=name, exact=True).wait_for()
            picture = heat_map(page)
            assert picture.get_attribute("data-hottest-entry") == entry, name
            assert picture.get_attribute("data-hottest") == image, name


def test_without_looked_at_entries_there_are_words_and_no_empty_pictures(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("probed")) as page:
        assert page.locator("canvas").count() == page.locator("svg").count() == 0
        page.get_by_role("link", name="encoder.weight").first.click()
        assert panel(page).get_by_text("were moved together, along random directions").is_visible()
        assert page.locator("canvas").count() == 0
        probes = page.get_by_role("region", name="Random directions").locator("tbody tr")
        assert probes.count() == len(probed().probes) > 0


def test_hostile_names_are_shown_and_nothing_of_them_runs(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("hostile"), width=390) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.locator("#r14-tensors canvas").first.wait_for()
        opened = page.locator("[data-panel]:not([hidden])")
        assert opened.count() >= len(HOSTILE_NAMES)
        for number in range(5):  # tensors of odd shapes and values
            page.evaluate(f"location.hash = 'r14-tensor-{number}'")
            page.locator(f"#r14-tensors [data-panel][data-tensor='{number}']").wait_for()
        assert page.locator("#r0-tensors tbody a").first.inner_text() == HOSTILE_NAMES["script"]
        assert page.evaluate("window.hacked") is None
        assert page.locator("img, iframe, [onerror], [onmouseover]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_phone_needs_no_scrolling_sideways(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("several"), width=390, height=800) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_hundred_thousand_entries_are_shown_a_page_at_a_time(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("large")) as page:
        assert heat_map(page).get_attribute("data-hottest") == "[2, 5]"
        assert page.get_by_text("1 to 10 of 102,400").is_visible()
        assert page.evaluate("document.getElementsByTagName('*').length") < 1000


def test_without_a_script_the_verdict_findings_and_tensors_are_read(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    with visit(browser, written("convolution"), has_script=False) as page:
        assert page.get_by_role("heading", level=2).first.is_visible()
        assert page.locator(".findings").first.is_visible()
        assert page.locator(".step-plot").first.is_visible()
        assert len(rows(page)) == 4
        assert page.get_by_role("button").count() == 0


def test_a_script_that_is_not_the_page_s_own_does_not_run(
    browser: Browser, folder: Path, written: Callable[[str], Path]
) -> None:
    content = written("probed").read_text("utf-8")
    path = folder / "tampered.html"
    path.write_text(content.replace("</body>", "<script>window.hacked = 1</script></body>"))
    with pytest.raises(AssertionError, match="Content Security Policy"), visit(browser, path):
        pass
    path.write_text(content.replace("</body>", "<img src='http://localhost:9/'></body>"))
    with pytest.raises(AssertionError, match="Content Security Policy"), visit(browser, path):
        pass
