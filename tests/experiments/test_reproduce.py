"""reproduce: what is done is skipped, the rest is run again, a budget ends it, nothing is left running."""

import json

import pytest

from partwhole import places
from partwhole.errors import BadInput
from partwhole.evaluation import EVALUATIONS
from partwhole.experiments import SCALES, evaluate, records, reproduce, tables
from partwhole.experiments.tables import cells
from support.fake_records import made_up

TABLES = ["foundations/bases", "scenes/settings"]


class Fake:
    """Stands in for a cell's process: when asked a second time it has ended and left its record."""

    alive = most = 0

    def __init__(self, cell, code=0):
        self.cell, self.code, self.returncode, self.asked = cell, code, None, 0
        Fake.alive += 1
        Fake.most = max(Fake.most, Fake.alive)

    def poll(self):
        self.asked += 1
        if self.asked > 1 and self.returncode is None:
            Fake.alive -= 1
            self.returncode = self.code
            if self.code == 0:
                records.write(made_up(self.cell, knn=40.0, loss=4.0), self.cell.path)
        return self.returncode

    def terminate(self):
        Fake.alive -= 1
        self.returncode = -15

    def wait(self):
        return self.returncode


@pytest.fixture
def trainer(folders):
    """Starts fake processes and remembers them; cells whose row is in `failing` end with code 1."""
    Fake.alive = Fake.most = 0

    class Trainer:
        def __init__(self):
            self.started, self.failing = [], set()

        def __call__(self, cell, threads, device):
            self.started.append((cell.name, threads, device))
            return Fake(cell, int(cell.row in self.failing))

    return Trainer()


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_well_formed_and_every_cell_is_a_recipe(table):
    for scale in tables.grid(table).scales:
        all_cells = cells(table, scale)
        assert (
            len({cell.name for cell in all_cells}) == len({cell.path for cell in all_cells}) == len(all_cells)
        )
        assert all(cell.recipe.training.seed == cell.seed for cell in all_cells)


def test_the_study_of_the_bases_gives_each_base_the_same_images_budget_and_seeds():
    all_cells = cells("foundations/bases", "study")
    [(images, epochs)] = {(cell.recipe.data.images, cell.recipe.training.epochs) for cell in all_cells}
    assert images * epochs <= 300_000
    assert {(cell.recipe.views, cell.recipe.model.blocks, cell.recipe.model.width) for cell in all_cells} == {
        (all_cells[0].recipe.views, (1, 1, 1, 1), 16)
    }
    seeds = {
        row: [cell.seed for cell in all_cells if cell.row == row]
        for row in ("simclr", "moco", "byol", "simsiam")
    }
    assert all(seen == [0, 1, 2] for seen in seeds.values())
    assert [cell.row for cell in all_cells[:4]] == ["simclr", "moco", "byol", "simsiam"]  # seed by seed


def test_every_cell_runs_once_and_a_second_call_runs_none(trainer, capsys):
    todo = [cell for cell in cells("scenes/settings", "study") if cell.row in ("plain", "nuisance")]
    assert reproduce.run(todo, jobs=2, start=trainer, wait=0) == 0
    assert sorted(name for name, _, _ in trainer.started) == sorted(cell.name for cell in todo)
    assert Fake.most == 2 and Fake.alive == 0
    assert reproduce.run(todo, jobs=2, start=trainer, wait=0) == 0
    assert len(trainer.started) == len(todo)
    out = capsys.readouterr().out
    assert "6 cells: 0 done, 6 to run, 2 at a time" in out and "6 cells: 6 done, 0 to run, 2 at a time" in out


def test_what_failed_is_told_and_run_again_and_the_rest_is_not(trainer, capsys):
    todo = [cell for cell in cells("scenes/settings", "study") if cell.row in ("plain", "nuisance")]
    trainer.failing = {"nuisance"}
    todo[1].folder.mkdir(parents=True)
    (todo[1].folder / reproduce.LOG).write_text("a bar\rthe pack is damaged\n")
    assert reproduce.run(todo, start=trainer, wait=0) == 1
    assert "nuisance-study-s0: FAILED with code 1: the pack is damaged; see " in capsys.readouterr().out
    trainer.failing, trainer.started = set(), []
    assert reproduce.run(todo, start=trainer, wait=0) == 0
    assert [name for name, _, _ in trainer.started] == [f"nuisance-study-s{seed}" for seed in (0, 1, 2)]


def test_a_record_of_another_recipe_is_stale_and_made_again(trainer):
    todo = cells("scenes/settings", "study")[:1]
    records.write(made_up(todo[0], knn=1.0) | {"digest": "0" * 16}, todo[0].path)
    assert todo[0].state() == "stale: of another recipe" and todo[0].record() is None
    assert reproduce.run(todo, start=trainer, wait=0) == 0
    assert todo[0].state() == "done" and todo[0].record()["metrics"]["knn"] == 40.0


def test_when_the_budget_is_used_up_no_cell_is_started_and_those_that_run_end(trainer, monkeypatch, capsys):
    clock = iter(range(0, 100_000, 45))  # every look at the clock is 45 seconds after the last
    monkeypatch.setattr(reproduce.time, "monotonic", lambda: next(clock))
    todo = [cell for cell in cells("scenes/settings", "study") if cell.row in ("plain", "nuisance")]
    assert reproduce.run(todo, budget=1.0, jobs=2, start=trainer, wait=0) == 0
    assert len(trainer.started) == 2 and Fake.alive == 0
    assert sum(cell.record() is not None for cell in todo) == 2
    assert "budget of 1 min used up: 4 cells are left; the same command goes on" in capsys.readouterr().out


def test_ctrl_c_ends_every_process_and_the_next_call_goes_on(trainer, monkeypatch):
    todo = [cell for cell in cells("scenes/settings", "study") if cell.row in ("plain", "nuisance")]

    def stop(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(reproduce.time, "sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            reproduce.run(todo, jobs=2, start=trainer, wait=0)
    assert Fake.alive == 0 and len(trainer.started) == 2
    assert reproduce.run(todo, jobs=2, start=trainer, wait=0) == 0
    assert all(cell.record() for cell in todo)


def test_side_by_side_cells_share_the_cores(trainer, monkeypatch):
    monkeypatch.setattr(reproduce, "cores", lambda: 8)
    reproduce.run(cells("scenes/settings", "study")[:2], jobs=2, device="cpu", start=trainer, wait=0)
    assert [(threads, device) for _, threads, device in trainer.started] == [(4, "cpu"), (4, "cpu")]


def test_a_cells_own_process_trains_measures_what_is_missing_and_writes_its_record(folders, monkeypatch):
    from partwhole.experiments import run

    [cell] = [cell for cell in cells("scenes/settings", "smoke") if cell.row == "nuisance"]
    asked = []

    def train(recipe, name, out, *, device):
        asked.append((recipe, name, out, device))
        return None, made_up(cell, loss=4.0)

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(
        evaluate,
        "evaluate",
        lambda folder, what, device, test_images: {"metrics": dict.fromkeys(what, test_images / 10)},
    )
    monkeypatch.setattr(reproduce, "SMOKE_IMAGES", 120)
    assert reproduce.main(["scenes/settings", "smoke", "nuisance", "0", "cpu"]) == 0
    assert (
        asked == [(cell.recipe, "scenes/simclr", cell.folder, "cpu")]
        and cell.recipe.data.name == "scenes/nuisance"
    )
    record = json.loads(cell.path.read_text())
    assert record["metrics"] == {"loss": 4.0, "knn": 12.0}
    assert (record["table"], record["scale"], record["row"], record["seed"]) == (
        "scenes/settings",
        "smoke",
        "nuisance",
        0,
    )
    # Smoke claims nothing, so its records are not kept.
    assert cell.path.is_relative_to(places.outputs_folder())


@pytest.mark.parametrize(
    ("metrics", "kinds"),
    [
        (("knn", "linear_cached_train"), ["linear_cached"]),
        (("background_share", "map_kl"), ["maps", "background"]),
        (("knn", "loss"), None),
    ],
)
def test_what_a_table_asks_for_beyond_training_is_looked_up_in_the_register(
    folders, monkeypatch, metrics, kinds
):
    from partwhole.experiments import run

    cell, asked = cells("foundations/bases", "smoke")[0], []
    columns = tables.grid("foundations/bases").model_copy(update={"metrics": metrics})
    monkeypatch.setattr(reproduce, "grid", lambda table: columns)
    monkeypatch.setattr(run, "train", lambda *_, **__: (None, made_up(cell, loss=4.0, knn=30.0)))

    def measured(folder, what, device, test_images):
        assert test_images == reproduce.SMOKE_IMAGES
        asked.append(what)
        return {"metrics": {figure: 12.0 for kind in what for figure in EVALUATIONS[kind].figures}}

    monkeypatch.setattr(evaluate, "evaluate", measured)
    record = records.read(reproduce.run_cell(cell))
    assert asked == ([kinds] if kinds else [])
    assert set(metrics) <= set(record["metrics"])
    assert record["metrics"]["knn"] == 30.0, "what training measured stays"


def test_progress_is_read_from_the_last_bar_of_a_log(tmp_path):
    log = tmp_path / "log.txt"
    assert reproduce.progress(log) == (0.0, "")
    bars = [
        "simclr on cifar10:  12%|█▏  | 24.0k/200k [00:10<01:13, 2.41kimg/s]",
        "simclr on cifar10:  57%|█████▋    | 114k/200k [00:46<00:35, 2.45kimg/s, loss=4.521]",
    ]
    log.write_text("\r".join(bars))
    assert reproduce.progress(log) == (0.57, "2.45k img/s, 00:35 left")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("title: x\nscales: {study: {about: x}}\n", "mine/table: rows is missing"),
        (
            "title: x\nbaseline: b\nrows: {a: {label: A, recipe: scenes/simclr}}\n"
            "scales: {study: {about: x}}\n",
            "mine/table: baseline is b; expected one of the rows a",
        ),
        (
            "title: x\nrows: {a: {label: A, recipe: scenes/simcrl}}\nscales: {study: {about: x}}\n",
            "unknown recipe 'scenes/simcrl'; did you mean scenes/simclr?",
        ),
        (
            "title: x\nrows: {a: {label: A, recipe: scenes/simclr, overrides: {training.epoch: 3}}}\n"
            "scales: {study: {about: x}}\n",
            "mine/table, row a: unknown key training.epoch; did you mean training.epochs?",
        ),
    ],
)
def test_a_table_with_a_mistake_is_refused_in_one_line(tmp_path, monkeypatch, text, line):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.yaml").write_text(text)
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    with pytest.raises(BadInput) as caught:
        cells("mine/table", "study")
    assert str(caught.value) == line


def test_a_rows_override_wins_over_the_scales_and_both_over_the_recipes(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.yaml").write_text(
        "title: x\n"
        "rows:\n"
        "  plain: {label: A, recipe: scenes/simclr}\n"
        "  own: {label: B, recipe: scenes/simclr, overrides: {training.epochs: 7, training.seed: 9}}\n"
        "  other: {label: C, recipe: scenes/simclr, recipes: {study: scenes/byol}}\n"
        "scales:\n"
        "  smoke: {about: x, overrides: {training.epochs: 2, training.lr: 0.3}}\n"
        "  study: {about: x, seeds: [3, 4], overrides: {training.epochs: 5}}\n"
    )
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    smoke, study = (cells("mine/table", scale) for scale in ("smoke", "study"))
    said = [(cell.row, cell.seed, cell.recipe.training.epochs, cell.recipe.training.seed) for cell in study]
    assert said == [
        ("plain", 3, 5, 3), ("own", 3, 7, 3), ("other", 3, 5, 3),
        ("plain", 4, 5, 4), ("own", 4, 7, 4), ("other", 4, 5, 4),
    ]  # fmt: skip
    assert [cell.recipe.training.epochs for cell in smoke] == [2, 7, 2]
    assert {cell.recipe.training.lr for cell in smoke} == {0.3} != {cell.recipe.training.lr for cell in study}
    bases = [[cell.recipe.method.base for cell in scale[:3]] for scale in (smoke, study)]
    assert bases == [["simclr", "simclr", "simclr"], ["simclr", "simclr", "byol"]]


@pytest.mark.parametrize("table", tables.names())
def test_scales_go_from_seconds_to_the_papers_setting_and_each_sees_more_images(table):
    scales = list(tables.grid(table).scales)
    assert scales == [scale for scale in SCALES if scale in scales]
    images_seen = []
    for scale in scales:
        cell = cells(table, scale)[0]
        count = cell.recipe.data.images or {"scenes/plain": 10_000, "scenes/nuisance": 10_000}.get(
            cell.recipe.data.name, 50_000
        )
        images_seen.append(count * cell.recipe.training.epochs)
    assert images_seen == sorted(images_seen)


def test_a_metric_that_nothing_gives_is_refused_and_no_record_is_left(folders, monkeypatch):
    from partwhole.experiments import run as training

    cell = cells("foundations/bases", "smoke")[0]
    odd = tables.grid("foundations/bases").model_copy(update={"metrics": ("knn", "beauty")})
    monkeypatch.setattr(reproduce, "grid", lambda table: odd)
    monkeypatch.setattr(training, "train", lambda *_, **__: (None, {"metrics": {"knn": 1.0}}))
    with pytest.raises(BadInput, match="neither training nor any evaluation gives beauty"):
        reproduce.run_cell(cell)
    assert not cell.path.exists()
