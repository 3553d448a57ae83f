"""Baselines: what pixels alone and chance score on an image set. A fact of the data: one record a set.

`python -m partwhole.experiments.baselines` measures what the tables ask for and has no record yet.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

from partwhole import machine, places
from partwhole.errors import BadInput
from partwhole.experiments import records
from partwhole.experiments.tables import cells, grid, names
from partwhole.recipes import files
from partwhole.recipes.schema import Recipe

COMMAND = "python -m partwhole.experiments.baselines"


def path(recipe: Recipe) -> Path:
    """Where the baseline of a recipe's images is kept: which set, how many images, which controls."""
    data = image_set(recipe)
    controls = json.dumps(data["controls"], sort_keys=True)
    parts = [data["data"].replace("/", "_"), "all" if data["images"] is None else str(data["images"])]
    parts += [hashlib.sha256(controls.encode()).hexdigest()[:8]] if data["controls"] else []
    return places.results_folder() / "baselines" / f"{'-'.join(parts)}.json"


def image_set(recipe: Recipe) -> dict:
    """What tells one image set from another: data, images (null: all), controls, as a record holds them."""
    data = files.dump(recipe)["data"]
    return {"data": data["name"], "images": data.get("images"), "controls": data.get("controls", {})}


def read(recipe: Recipe) -> dict | None:
    """The record of the recipe's images; None where there is none of these images and this kNN."""
    if not path(recipe).is_file():
        return None
    record, settings = records.read(path(recipe)), recipe.evaluation
    same = (record["knn_k"], record["knn_temperature"]) == (settings.knn_k, settings.knn_temperature)
    return record if same and {key: record[key] for key in image_set(recipe)} == image_set(recipe) else None


def measure(recipe: Recipe) -> dict:
    """The record: kNN on pixels less the mean training image, and the share of the commonest class, in %.

    raw_pixels_shifted: where backgrounds go with the class, on test scenes whose backgrounds do not.
    """
    from partwhole.data import catalogue
    from partwhole.evaluation.raw_pixels import raw_pixels

    started, data, settings = time.perf_counter(), recipe.data, recipe.evaluation
    vote = {"k": settings.knn_k, "temperature": settings.knn_temperature}
    train = catalogue.load(data.name, "train", images=data.images, controls=data.controls)
    test = catalogue.load(data.name, "test", controls=data.controls)
    metrics = {"raw_pixels": raw_pixels(train, test, **vote)}
    if data.controls.get("background_correlation"):
        shifted = catalogue.load(data.name, "test", controls={**data.controls, "background_correlation": 0.0})
        metrics["raw_pixels_shifted"] = raw_pixels(train, shifted, **vote)
    metrics["chance"] = 100 * test.labels.bincount().max().item() / len(test)
    about = machine.describe()
    return {
        "kind": "baseline", **image_set(recipe), "knn_k": vote["k"], "knn_temperature": vote["temperature"],
        "training_images": len(train), "test_images": len(test), "metrics": metrics, "command": COMMAND,
        "seconds": time.perf_counter() - started, "machine": about,
        "commit": about["commit"], "date": about["date"],
    }  # fmt: skip


def wanted() -> dict[Path, Recipe]:
    """One recipe for each image set of a table's scales, by the record's path; smoke needs none."""
    recipes = [
        cell.recipe
        for table in names()
        for scale in grid(table).scales
        if scale != "smoke"
        for cell in cells(table, scale)
    ]
    return {path(recipe): recipe for recipe in recipes}


def main() -> int:
    """Measure what is wanted and has no record; the exit code is 1 where a data set is absent."""
    absent = 0
    for file, recipe in wanted().items():
        if read(recipe) is not None:
            continue
        try:
            record = measure(recipe)
        except BadInput as error:
            absent += 1
            print(f"{file.stem}: {error}", file=sys.stderr)
            continue
        records.write(record, file)
        figures = ", ".join(f"{name} {value:.2f} %" for name, value in record["metrics"].items())
        print(f"{file.stem}: {figures}, {record['seconds']:.0f} s", flush=True)
    return 1 if absent else 0


if __name__ == "__main__":
    raise SystemExit(main())
