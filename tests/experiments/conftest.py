import pytest

from partwhole import places


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty folders for records and runs."""
    monkeypatch.setattr(places, "results_folder", lambda: tmp_path / "results")
    monkeypatch.setattr(places, "outputs_folder", lambda: tmp_path / "outputs")
    return tmp_path
