"""The list of mutations follows the code: each line stands where the list says, and names a test that is
there.
"""

import pytest

from mutants.run import ROOT, mutated, mutations

LIST = mutations()


@pytest.mark.parametrize("mutation", LIST, ids=[mutation.name for mutation in LIST])
def test_the_line_is_there_once_and_the_test_exists(mutation):
    source = ROOT / "src" / "partwhole"
    assert mutated(mutation, source) != (source / mutation.file).read_text(encoding="utf-8")
    file, _, name = mutation.test.partition("::")
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert not name or f"def {name.split('[')[0]}(" in text


def test_there_are_forty_over_all_rooms():
    rooms = {mutation.file.split("/")[0] for mutation in LIST}
    assert len(LIST) >= 40
    assert rooms >= {
        "data",
        "views",
        "models",
        "methods",
        "training",
        "evaluation",
        "recipes",
        "experiments",
        "book",
        "cli",
    }
