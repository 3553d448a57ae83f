"""Rooms: imports between them point one way, there is no circle, and every room of the tests is a room of the
package.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "partwhole"
# Each level may import those to its right; modules of one level, other than a room's own, do not import each
# other.
LEVELS = (
    ("__main__",),
    ("cli",),
    ("book", "bench"),
    ("plots",),
    ("experiments",),
    ("training",),
    ("evaluation",),
    ("methods",),
    ("models", "views", "data"),
    ("recipes",),
    ("machine", "arithmetic"),
    ("places",),
    ("errors", "__init__"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def room(module: str) -> str:
    """The room of `partwhole.ROOM.x`; the package itself is the ground."""
    return ([*module.split("."), "__init__"])[1]


def imported(file: Path) -> set[str]:
    """Every module of the package that a file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.split(".")[0] == "partwhole"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "partwhole":
            for alias in node.names:
                path = SOURCE.joinpath(*node.module.split(".")[1:], alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").is_file()
                modules.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return modules


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_imports_point_one_way(file):
    here = file.relative_to(SOURCE).with_suffix("").parts[0]
    for module in imported(file):
        there = room(module)
        assert there in LEVEL, f"{there} is a new room: give it a level"
        assert here == there or LEVEL[here] < LEVEL[there], (
            f"{file.name} of {here} imports {module}, which lies above it"
        )


def test_no_two_modules_import_each_other_in_a_circle():
    names = {"partwhole." + ".".join(file.relative_to(SOURCE).with_suffix("").parts): file for file in FILES}
    graph = {name.removesuffix(".__init__"): imported(file) for name, file in names.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        if name != "partwhole":
            visit(name, ())


def test_the_rooms_of_the_tests_are_those_of_the_package():
    rooms = {
        folder.name
        for folder in Path(__file__).parent.iterdir()
        if folder.is_dir() and any(folder.glob("test_*.py"))
    }
    assert rooms - {"references", "mutants", "support"} <= set(LEVEL)
