"""Outputs of notebooks: moved from a run into its source, cleaned of what belongs to one machine or one run.

Notebooks are plain JSON dictionaries here (nbformat 4.5, so that every cell has an id).
"""

import base64
import copy
import io
import json
import os
import platform
import re
import tempfile
from pathlib import Path

from partwhole.errors import BadInput

KEPT_CELL_METADATA = ("tags", "mystnb")
WIDGET = "application/vnd.jupyter.widget-view+json"


def with_outputs(source: dict, executed: dict) -> dict:
    """A copy of `source` whose code cells carry the outputs of `executed`, cell by cell (by id).

    The parameters cell that papermill adds to a run is left out, and execution counts run from 1.
    Raises BadInput if the run is not of this notebook.
    """
    notebook = copy.deepcopy(source)
    runs = {cell.get("id"): cell for cell in executed["cells"] if cell["cell_type"] == "code"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        run = runs.get(cell.get("id"))
        if run is None or "".join(run["source"]) != "".join(cell["source"]):
            raise BadInput(
                f"the run is of another version of the notebook (cell {cell.get('id')}); "
                "run the chapter again"
            )
        count += 1
        cell["execution_count"] = count
        cell["outputs"] = copy.deepcopy(run["outputs"])
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = count
    return notebook


def normalised(notebook: dict, root: Path) -> dict:
    """A copy without papermill's and widgets' metadata, timings and absolute paths: what may be committed.

    root: the repository's folder; paths below it become relative, other machine paths are cut to `.../name`.
    """
    notebook = copy.deepcopy(notebook)
    original = notebook["metadata"].get("partwhole")
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        **({"partwhole": original} if original else {}),
    }
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    for cell in notebook["cells"]:
        cell["metadata"] = {
            key: cell["metadata"][key] for key in KEPT_CELL_METADATA if cell["metadata"].get(key)
        }
        if cell["cell_type"] == "code":
            cell["outputs"] = _merged(
                [_clean(output, root) for output in cell["outputs"] if not _is_widget(output)]
            )
    return notebook


def with_small_pictures(notebook: dict) -> dict:
    """A copy whose PNG outputs have at most 256 colours each, which halves most charts."""
    from PIL import Image

    notebook = copy.deepcopy(notebook)
    outputs = (
        output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]
    )
    for output in outputs:
        if "image/png" not in (data := output.get("data", {})):
            continue
        original, small = base64.b64decode("".join(data["image/png"])), io.BytesIO()
        Image.open(io.BytesIO(original)).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
        if small.tell() < len(original):
            data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return notebook


def figures(path: Path) -> int:
    """How many pictures the outputs of the notebook at `path` hold."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)


def made_with(preset: str) -> dict[str, str]:
    """What a notebook remembers of the run behind its outputs."""
    from importlib.metadata import version

    return {"preset": preset, "python": platform.python_version(), "torch": version("torch")}


def write(notebook: dict, path: Path) -> None:
    """Write a notebook at once or not at all, in Jupyter's own layout (indent 1, a line at the end)."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".ipynb")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(notebook, file, indent=1, ensure_ascii=False)
        file.write("\n")
    Path(name).chmod(0o644)
    Path(name).replace(path)


def machine_paths(text: str) -> list[str]:
    """Absolute paths in a text: `/` or a drive letter, then two or more parts.

    Addresses and ratios (a/b/c) are none.
    """
    return re.findall(r"(?<![\w./:~-])(?:/[\w.+-]+(?:/[\w.+-]+)+|[A-Z]:\\[\w.+-]+(?:\\[\w.+-]+)*)", text)


def _is_widget(output: dict) -> bool:
    return WIDGET in output.get("data", {})


def _clean(output: dict, root: Path) -> dict:
    """The output with machine paths in its texts shortened."""
    if "text" in output:
        output["text"] = _shortened(output["text"], root)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output["data"][kind] = _shortened(content, root)
    return output


def _shortened(lines: str | list[str], root: Path) -> list[str]:
    text = "".join(lines).replace(f"{root}/", "").replace(str(root), ".")
    for path in sorted(set(machine_paths(text)), key=len, reverse=True):
        text = text.replace(path, ".../" + re.split(r"[/\\]", path)[-1])
    return text.splitlines(keepends=True)


def _merged(outputs: list[dict]) -> list[dict]:
    """Neighbouring streams of one name as one output, as they were printed."""
    merged: list[dict] = []
    for output in outputs:
        if (
            merged
            and output["output_type"] == "stream" == merged[-1]["output_type"]
            and output["name"] == merged[-1]["name"]
        ):
            merged[-1]["text"] = ("".join(merged[-1]["text"]) + "".join(output["text"])).splitlines(
                keepends=True
            )
        else:
            merged.append(output)
    return merged
