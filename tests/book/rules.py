"""What every committed notebook must be: rules, each a function from a notebook to complaints."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from partwhole.book import cells
from partwhole.book.address import Address
from partwhole.book.outputs import machine_paths, normalised
from partwhole.book.presets import PRESETS

LARGEST = 1_000_000  # bytes of a notebook
LONGEST = 25  # lines of a code cell
WIDEST = 95  # characters of a line of it: what a page shows without scrolling
IMPORTS = 5  # statements that import from partwhole, beside the set-up cell
IMAGE_RULES = ("image_set_name", "ensure_available")


def complaints(notebook: dict, path: Path, root: Path, address: Address) -> list[str]:
    """Everything that is wrong with the notebook at `path` (relative to `root`)."""
    return [
        *_title(notebook, path, address),
        *_headings(notebook),
        *_set_up(notebook, address),
        *_parameters(notebook),
        *_images(notebook),
        *_code(notebook),
        *_names(notebook),
        *_outputs(notebook),
        *_form(notebook, root),
        *_reading(notebook),
    ]


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def _title(notebook: dict, path: Path, address: Address) -> Iterator[str]:
    first = source(notebook["cells"][0])
    if not first.startswith("# "):
        yield "the first cell does not begin with '# title'"
    if first.count("colab.research.google.com/github") != 1 or cells.badge(path, address) not in first:
        yield f"the first cell lacks the badge of its own path: {cells.badge(path, address)}"
    cost = notebook["metadata"].get("partwhole", {}).get("cost", {})
    if sorted(cost) != sorted(PRESETS):
        yield f"metadata partwhole.cost must say what {', '.join(PRESETS)} cost; it has {sorted(cost)}"
    elif cells.cost_line(cost) not in first:
        yield f"the first cell lacks the line: {cells.cost_line(cost)}"


def _headings(notebook: dict) -> Iterator[str]:
    markdown = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    lines = [line for text in markdown for line in text.splitlines()]
    if sum(line.startswith("# ") for line in lines) != 1:
        yield "there must be exactly one '# title'"
    sections = [line.removeprefix("## ").strip() for line in lines if line.startswith("## ")]
    if [name for name in sections if name in cells.SECTIONS] != list(cells.SECTIONS):
        yield f"sections {', '.join(cells.SECTIONS)} must be there once, in this order; found {sections}"


def _set_up(notebook: dict, address: Address) -> Iterator[str]:
    first = next(iter(code_cells(notebook)), None)
    if first is None or source(first) != cells.set_up_cell(address):
        yield "the first code cell is not the set-up cell of partwhole.book.cells"


def _parameters(notebook: dict) -> Iterator[str]:
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged parameters; there must be one"
    elif not source(tagged[0]).startswith("preset = None"):
        yield "the parameters cell does not begin with 'preset = None'"


def _images(notebook: dict) -> Iterator[str]:
    text = "\n".join(source(cell) for cell in code_cells(notebook))
    if not any(f"presets.{rule}(" in text for rule in IMAGE_RULES):
        yield f"no cell asks presets.{' or presets.'.join(IMAGE_RULES)} for its images"
    if "absent" in text and "catalogue.available" in text:
        yield "it looks by itself which images are absent; presets decide that, for all chapters"


def _code(notebook: dict) -> Iterator[str]:
    for number, cell in enumerate(code_cells(notebook), 1):
        if len(source(cell).splitlines()) > LONGEST:
            yield f"code cell {number} has {len(source(cell).splitlines())} lines, more than {LONGEST}"


def _names(notebook: dict) -> Iterator[str]:
    imported: set[str] = set()
    for number, cell in enumerate(code_cells(notebook), 1):
        for statement in _top_level(ast.parse(source(cell)).body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                names = {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
                imported |= names
            elif taken := sorted(_bound(statement) & imported):
                yield f"code cell {number} takes the imported name {', '.join(taken)} for something else"


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the cell does: those of loops and conditions too, not those of functions."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from _top_level(getattr(statement, part, []))


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value, its own parts apart."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    targets += [item.optional_vars for item in getattr(statement, "items", [])]
    parts = [part for target in targets if target for part in ast.walk(target)]
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _reading(notebook: dict) -> Iterator[str]:
    """What a reader asks: lines that fit, few imports, pictures in words, solutions to exercises."""
    cells = code_cells(notebook)[1:]
    for number, cell in enumerate(cells, 2):
        if (widest := max((len(line) for line in source(cell).splitlines()), default=0)) and widest > WIDEST:
            yield f"code cell {number} has a line of {widest} characters, more than {WIDEST}"
        pictures = any("image/png" in output.get("data", {}) for output in cell["outputs"])
        if pictures and not cell["metadata"].get("mystnb", {}).get("image", {}).get("alt"):
            yield f"code cell {number} shows a picture without alternative text (metadata mystnb.image.alt)"
    imports = re.compile(r"^\s*(?:from partwhole[\w.]* import|import partwhole)", re.MULTILINE)
    count = sum(len(imports.findall(source(cell))) for cell in cells)
    if count > IMPORTS:
        yield f"it imports from partwhole {count} times, more than {IMPORTS}; use the public face and whole rooms"
    texts = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    if "dropdown" not in "".join(texts):
        yield "its exercises have no folded solutions (a dropdown)"


def _outputs(notebook: dict) -> Iterator[str]:
    cells = code_cells(notebook)
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        yield "execution counts are not 1, 2, 3, ...: run it top to bottom (make outputs CHAPTER=...)"
    for number, cell in enumerate(cells, 1):
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            yield f"code cell {number} shows an error"
        if any(output.get("name") == "stderr" for output in cell["outputs"]):
            yield f"code cell {number} writes to stderr, which shows as a red block"
    made = notebook["metadata"].get("partwhole", {}).get("made_with", {}).get("preset")
    if made != "teach":
        yield f"its outputs were made with preset {made}, not teach (make outputs CHAPTER=...)"


def _form(notebook: dict, root: Path) -> Iterator[str]:
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    ids = [cell.get("id") for cell in notebook["cells"]]
    if None in ids or len(set(ids)) != len(ids):
        yield "every cell needs an id of its own (nbformat 4.5)"
    if normalised(notebook, root) != notebook:
        yield (
            "it holds papermill's or widgets' metadata, timings or machine paths in outputs "
            "(make outputs CHAPTER=...)"
        )
    texts = [source(cell) for cell in notebook["cells"]]
    for path in sorted({path for text in texts for path in machine_paths(text)}):
        yield f"absolute path {path}"
    size = len(json.dumps(notebook, indent=1, ensure_ascii=False).encode())
    if size >= LARGEST:
        yield f"it has {size} bytes, {LARGEST} or more"
