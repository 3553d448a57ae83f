import pytest

from partwhole import records


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders for records and runs."""
    monkeypatch.setattr(records, "results_folder", lambda: tmp_path / "results")
    monkeypatch.setattr(records, "outputs_folder", lambda: tmp_path / "outputs")
    return tmp_path
