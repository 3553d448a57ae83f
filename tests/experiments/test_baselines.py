"""Baselines: one record for each image set, measured as evaluations measure it, refused for another kNN."""

from partwhole.experiments import baselines, records
from partwhole.experiments.tables import cells
from partwhole.recipes import files


def recipe(**changes: object):
    overrides = [
        f"{key}={value}" for key, value in {"data.images": 500, "evaluation.knn_k": 20, **changes}.items()
    ]
    return files.load("scenes/simclr", overrides)


def test_a_baseline_is_that_of_the_evaluation_and_comes_back(folders):
    from partwhole.data import catalogue
    from partwhole.evaluation.raw_pixels import raw_pixels

    record = baselines.measure(recipe())
    train, test = (
        catalogue.load("scenes/plain", split, images=count)
        for split, count in (("train", 500), ("test", None))
    )
    assert record["metrics"] == {"raw_pixels": raw_pixels(train, test, k=20), "chance": 10.0}
    records.write(record, baselines.path(recipe()))
    assert baselines.read(recipe())["metrics"] == record["metrics"]
    assert baselines.read(recipe(**{"evaluation.knn_k": 21})) is None


def test_other_images_and_other_controls_have_files_of_their_own(folders):
    changed = recipe(**{"data.controls": "{object_size: [0.2, 0.3]}"})
    paths = {
        baselines.path(one)
        for one in (recipe(), recipe(**{"data.images": 600}), changed, recipe(**{"training.lr": 9}))
    }
    assert len(paths) == 3
    assert baselines.read(recipe()) is None


def test_every_scale_but_smoke_is_wanted():
    wanted = baselines.wanted()
    assert baselines.path(cells("lewel/target", "long")[0].recipe) in wanted
    assert baselines.path(cells("foundations/bases", "smoke")[0].recipe) not in wanted
