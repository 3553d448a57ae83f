import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jupyter_book.config import get_default_sphinx_config

from partwhole.book import build as book
from partwhole.book import page_checks
from partwhole.book.address import address
from partwhole.book.chapters import _pages
from partwhole.places import home

ROOT = home()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
EXTENSIONS = CONFIG["sphinx"]["config"]["extensions"]
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
    assert carrier in EXTENSIONS
    files = Path(importlib.util.find_spec(carrier).origin).parent / "static"
    assert (files / CONFIG["sphinx"]["config"]["mathjax_path"]).is_file()
    assert len(list(files.glob("mathjax/output/chtml/fonts/woff-v2/*.woff"))) >= 20


def test_staged_book_holds_every_page_and_leaves_the_badge_to_the_book(tmp_path):
    folder = book.stage(tmp_path / "source", executed=False)
    for page in PAGES:
        files = [path for path in (folder / f"{page}.md", folder / f"{page}.ipynb") if path.is_file()]
        assert len(files) == 1, page
        assert book.BADGE not in files[0].read_text(encoding="utf-8")
    assert book.TABLES not in (folder / "book" / "results.md").read_text(encoding="utf-8")


def test_what_a_page_would_load_from_the_network_is_found(tmp_path):
    (tmp_path / "page.html").write_text(
        '<a href="https://a.org">link</a><link rel="canonical" href="https://b.org/x"><img src="local.png">'
        '<script async="async" src="https://c.org/m.js"></script>'
        '<link rel="stylesheet" href="//d.org/s.css">',
        encoding="utf-8",
    )
    assert page_checks.remote_parts(tmp_path) == ["page.html: https://c.org/m.js", "page.html: //d.org/s.css"]


def test_extensions_are_jupyter_books_own_but_thebe():
    default = get_default_sphinx_config()["extensions"]
    assert set(default) - set(EXTENSIONS) == {"sphinx_thebe"}
    assert "extra_extensions" not in CONFIG["sphinx"]  # our list would silently replace it


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The built HTML of two pages, one with code and one with mathematics, by the book's own settings."""
    folder = tmp_path_factory.mktemp("book")
    source = folder / "source"
    for name in (
        "book/_static",
        "book/references.bib",
        "book/bibliography.md",
        "book/notation.md",
        "_config.yml",
    ):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    (source / "book" / "start.md").write_text("# Start\n\n```python\n1 + 1\n```\n", encoding="utf-8")
    contents = (
        "format: jb-book\nroot: book/start\nchapters:\n  - file: book/notation\n  - file: book/bibliography\n"
    )
    (source / "book" / "_toc.yml").write_text(contents, encoding="utf-8")
    return book.render(source, folder / "pages")


def test_pages_load_nothing_remote_and_declare_nothing_twice(pages):
    assert len(list(pages.glob("book/*.html"))) == 3
    assert page_checks.remote_parts(pages) == [] and page_checks.declared_twice(pages) == []


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("page", ["start", "notation"])
def test_pages_have_no_error_in_a_browser(pages, page, tmp_path):
    assert console_errors(pages / "book" / f"{page}.html", tmp_path) == []


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_an_error_in_a_browser_is_seen_by_this_test(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<script>const a = 1</script><script>const a = 1</script>", encoding="utf-8")
    [error] = console_errors(page, tmp_path)
    assert "'a' has already been declared" in error


def console_errors(page: Path, folder: Path) -> list[str]:
    """What a browser writes to its console while it shows the page, but for notes of theme and buttons."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.as_uri(),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120).stderr
    console = [line.partition("] ")[2] for line in said.splitlines() if ":CONSOLE" in line]
    return [line for line in console if not line.startswith(('"[PST]', '"[togglebutton]'))]


@pytest.mark.parametrize(
    ("scripts", "names"),
    [
        ("<script>const A = 1; const b = 2</script><script>const A = 1</script>", ["page.html: A"]),
        (
            "<script>let a = {b: {c: 1}}; function f() { const d = 1 }</script><script>const d = 1</script>",
            [],
        ),
        ('<script>const a = 1</script><script type="module">const a = 1</script>', []),
        ('<script>var a = 1</script><script type="application/json">const a</script>', []),
    ],
)
def test_what_a_page_declares_twice_is_found(tmp_path, scripts, names):
    (tmp_path / "page.html").write_text(scripts, encoding="utf-8")
    assert page_checks.declared_twice(tmp_path) == names


def test_repository_address_has_the_form_that_colab_opens():
    assert address().url.startswith("https://github.com/")
    assert address().slug.count("/") == 1
