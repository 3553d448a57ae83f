"""The book: its pages and notebooks staged in one folder, then built as HTML by jupyter-book.

    python -m partwhole.book.build book     run every chapter (smoke), then build from that   (make book)
    python -m partwhole.book.build site     build from the committed outputs, run nothing     (make site)
    python -m partwhole.book.build check    as site, apart from it, and strictly              (make test)

Strictly: a warning, a part that needs the network and a script that browsers refuse are errors.

Staging keeps committed notebooks untouched, fills in the tables that come from records, and gives the pages a
Colab badge that needs no network.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from partwhole.book import page_checks
from partwhole.book.chapters import ChapterFailed, chapters, clock, run_all
from partwhole.book.surroundings import kernel_surroundings
from partwhole.errors import BadInput
from partwhole.places import home

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
TABLES = "<!-- tables from data/results -->"


class BuildFailed(RuntimeError):
    """jupyter-book ended with an error, or with a warning where warnings count as errors."""


def build(executed: bool, *, strict: bool = False, output: Path | None = None) -> Path:
    """Build the HTML book and return the path of its first page.

    executed: take the runs under `outputs/` instead of the committed outputs.  strict: a warning is an error.
    output: the folder for the HTML and its staged sources, `_build` if not given.
    """
    output = output or home() / "_build"
    with kernel_surroundings():  # pictures of the results are drawn here, those of the chapters were before
        source = stage(output / "source", executed)
        pages = render(source, output / "pages", strict=strict)
    html = output / "html"
    shutil.rmtree(html, ignore_errors=True)
    pages.rename(html)
    shutil.rmtree(output / "pages")
    return html / "index.html"


def render(source: Path, output: Path, *, strict: bool = False) -> Path:
    """Build staged sources by jupyter-book and return the folder of the HTML, which lies below `output`."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    command += [
        "--config",
        str(source / "_config.yml"),
        "--toc",
        str(source / "book" / "_toc.yml"),
        "--all",
        "-q",
    ]
    command += ["--path-output", str(output), *(["-W", "--keep-going", "-n"] if strict else [])]
    run = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = [line for line in run.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    if run.returncode:
        raise BuildFailed("\n".join(said or run.stdout.splitlines()[-20:]).replace(f"{source}/", ""))
    print("\n".join(said).replace(f"{source}/", ""), end="\n" if said else "", file=sys.stderr)
    return output / "_build" / "html"


def stage(folder: Path, executed: bool) -> Path:
    """Lay out the book's sources in `folder`: settings, pages, notebooks with the wanted outputs."""
    from partwhole.book.outputs import with_outputs, write

    root = home()
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("book", "notebooks"):
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy2(root / "_config.yml", folder)
    for chapter in chapters():
        notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
        if executed:
            run = root / "outputs" / f"{chapter.name}.ipynb"
            if not run.is_file():
                raise BadInput(f"{chapter.name} has not been run; run it first: partwhole run {chapter.name}")
            notebook = with_outputs(notebook, json.loads(run.read_text(encoding="utf-8")))
        _without_remote_badge(notebook)
        write(notebook, folder / "notebooks" / f"{chapter.name}.ipynb")
    results = folder / "book" / "results.md"
    if results.is_file():
        results.write_text(
            results.read_text(encoding="utf-8").replace(TABLES, result_tables(folder)), encoding="utf-8"
        )
    return folder


def result_tables(folder: Path) -> str:
    """Markdown of every table that has records; its pictures and linked records are laid out in `folder`."""
    from partwhole import plots
    from partwhole.experiments import report_page, results
    from partwhole.places import results_folder

    plots.style()

    def picture(table: str, scale: str) -> str:
        file = f"results/{table.replace('/', '_')}_{scale}.svg"
        (folder / "book" / file).parent.mkdir(exist_ok=True)
        figure = plots.table(**report_page.picture(table, scale))
        figure.savefig(folder / "book" / file, metadata={"Date": None})
        plots.plt.close(figure)
        return f"::::{{div}} picture\n![{report_page.alternative(table, scale)}]({file})\n::::"

    if results_folder().is_dir():
        shutil.copytree(results_folder(), folder / "data" / "results", dirs_exist_ok=True)
    tables = results.tables()
    parts = [report_page.markdown(table, picture=picture) for table in tables] or [
        "No table has a record yet."
    ]
    return "\n\n".join([*parts, *([f"## Units\n\n{report_page.definitions(tables)}"] if tables else [])])


def _without_remote_badge(notebook: dict) -> None:
    """Point the badge's picture at the book's own copy, so that a page asks nothing from the network."""
    for cell in notebook["cells"][:1]:
        cell["source"] = "".join(cell["source"]).replace(BADGE, "/book/_static/open_in_colab.svg")


def main(arguments: list[str]) -> int:
    """`book`, `site` or `check`; the last line is where the book is and how long it took."""
    started = time.monotonic()
    what = arguments[0] if len(arguments) == 1 else None
    try:
        if what == "book":
            run_all("smoke")
            print("Building the book from these runs", flush=True)
            page = build(executed=True)
        elif what == "site":
            print("Building the book from the committed outputs", flush=True)
            page = build(executed=False)
        elif what == "check":
            print("Building the book, warnings as errors", flush=True)
            page = build(executed=False, strict=True, output=home() / "_build" / "check")
            if loads := page_checks.remote_parts(page.parent):
                raise BuildFailed(
                    "the book must be readable without a network, but loads\n" + "\n".join(loads)
                )
            if twice := page_checks.declared_twice(page.parent):
                raise BuildFailed("a script error on every such page: declared twice\n" + "\n".join(twice))
        else:
            raise BadInput(f"expected one of book, site, check; got {' '.join(arguments) or 'nothing'}")
    except (BadInput, BuildFailed, ChapterFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(f"The book is at {page} (took {clock(time.monotonic() - started)})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
