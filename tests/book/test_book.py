import importlib.util
from pathlib import Path

import yaml

from partwhole.book import build as book
from partwhole.book.address import address
from partwhole.book.chapters import _pages
from partwhole.places import home

ROOT = home()
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
PAGES = list(_pages(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))))


def test_contents_name_every_page_once_and_nothing_else():
    there = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "book").glob("*.md")}
    assert len(PAGES) == len(set(PAGES))
    assert {page for page in PAGES if page.startswith("book/")} == there


def test_building_the_book_executes_nothing():
    assert CONFIG["execute"]["execute_notebooks"] == "off"
    assert CONFIG["only_build_toc_files"] is True


def test_launch_buttons_lead_to_colab_only():
    assert CONFIG["launch_buttons"] == {"colab_url": "https://colab.research.google.com", "thebe": False}
    assert CONFIG["repository"]["path_to_book"] == ""


def test_mathematics_and_its_fonts_come_with_an_installed_package():
    carrier = "sphinx-mathjax-offline"
    assert carrier in CONFIG["sphinx"]["extra_extensions"]
    files = Path(importlib.util.find_spec(carrier).origin).parent / "static"
    assert (files / CONFIG["sphinx"]["config"]["mathjax_path"]).is_file()
    assert len(list(files.glob("mathjax/output/chtml/fonts/woff-v2/*.woff"))) >= 20


def test_staged_book_holds_every_page_and_leaves_the_badge_to_the_book(tmp_path):
    folder = book.stage(tmp_path / "source", executed=False)
    for page in PAGES:
        found = [path for path in (folder / f"{page}.md", folder / f"{page}.ipynb") if path.is_file()]
        assert len(found) == 1, page
        assert book.BADGE not in found[0].read_text(encoding="utf-8")
    assert book.TABLES not in (folder / "book" / "results.md").read_text(encoding="utf-8")


def test_what_a_page_would_load_from_the_network_is_found(tmp_path):
    (tmp_path / "page.html").write_text(
        '<a href="https://a.org">link</a><link rel="canonical" href="https://b.org/x"><img src="local.png">'
        '<script async="async" src="https://c.org/m.js"></script><link rel="stylesheet" href="//d.org/s.css">',
        encoding="utf-8",
    )
    assert book.remote_parts(tmp_path) == ["page.html: https://c.org/m.js", "page.html: //d.org/s.css"]


def test_repository_address_has_the_form_that_colab_opens():
    assert address().url.startswith("https://github.com/")
    assert address().slug.count("/") == 1
