"""The register of evaluations: each entry gives what it lists; help, command line and tables follow it."""

import sys
import types
from dataclasses import replace

import pytest
import torch

from partwhole.cli import commands
from partwhole.cli.parser import parse
from partwhole.data.scenes import scenes
from partwhole.errors import BadInput
from partwhole.evaluation import EVALUATIONS, Evaluation, background, evaluations_of, is_percentage
from partwhole.evaluation.subject import Subject
from partwhole.experiments import tables
from partwhole.experiments.export import load_method
from partwhole.experiments.run import train
from partwhole.methods import OBJECTIVES
from support.few_scenes import few_scenes
from support.tiny_recipes import lewel

OF_TRAINING = {"loss", "box_area", "box_whole", "box_iou", "object_iou", "pair_iou", "false_pairs"}


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A tiny trained checkpoint, 60 training scenes and 40 test scenes, which are others."""
    folder = tmp_path_factory.mktemp("run")
    with few_scenes():
        train(lewel(training={"epochs": 1}), "tiny", folder, device="cpu", progress=False)
    method, recipe = load_method(folder)
    probe = {"epochs": 1, "batch": 30, "lr": 0.5}
    with few_scenes():
        yield Subject(method, recipe, scenes(60), scenes(40, seed=1), torch.device("cpu"), probe=probe)


@pytest.fixture
def few_backgrounds(monkeypatch):
    """background's scenes, but 100 of each at most."""
    monkeypatch.setattr(background, "scenes", lambda count, **more: scenes(min(count, 100), **more))


@pytest.mark.parametrize("name", EVALUATIONS)
def test_every_evaluation_gives_exactly_the_figures_that_the_register_lists(name, subject, few_backgrounds):
    figures = dict(EVALUATIONS[name].measure(subject))
    details = figures.pop("details", {})
    assert tuple(figures) == EVALUATIONS[name].figures
    assert all(isinstance(value, float) and abs(value) < float("inf") for value in figures.values())
    assert isinstance(details, dict)


def test_no_figure_has_two_names_and_none_is_one_of_training_s():
    figures = [figure for evaluation in EVALUATIONS.values() for figure in evaluation.figures]
    assert len(figures) == len(set(figures)) and not OF_TRAINING & set(figures)


def test_help_and_the_command_line_list_exactly_the_register(capsys):
    with pytest.raises(SystemExit):
        parse(["evaluate", "--help"])
    text = capsys.readouterr().out
    listed = text.partition("what can be measured\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == list(EVALUATIONS)
    assert all(evaluation.about in text for evaluation in EVALUATIONS.values())
    for name in EVALUATIONS:
        assert parse(["evaluate", "x", "--what", name]).what == [name]
    with pytest.raises(BadInput, match="unknown measure 'beauty'"):
        parse(["evaluate", "x", "--what", "beauty"])
    assert set(commands.USUAL) <= set(EVALUATIONS)


def test_a_measure_of_ones_own_is_listed_measured_and_asked_for_by_its_figure(subject, monkeypatch, capsys):
    module = types.ModuleType("partwhole.evaluation.beauty")
    module.measure = lambda asked: {"beauty": float(len(asked.test))}
    monkeypatch.setitem(sys.modules, "partwhole.evaluation.beauty", module)
    monkeypatch.setitem(
        EVALUATIONS, "beauty", Evaluation("beauty", ("beauty",), "how fair it is", percent=True)
    )
    with pytest.raises(SystemExit):
        parse(["evaluate", "--help"])
    assert "how fair it is" in capsys.readouterr().out
    assert EVALUATIONS["beauty"].measure(subject) == {"beauty": 40.0}
    assert evaluations_of({"beauty", "knn"}) == ["knn", "beauty"] and is_percentage("beauty")


def test_figures_lead_to_the_evaluations_that_give_them():
    assert evaluations_of({"linear_cached_train"}) == ["linear_cached"]
    assert evaluations_of({"knn_shifted", "map_kl", "knn"}) == ["knn", "maps", "background"]
    assert evaluations_of({"loss"}) == []


def test_accuracies_are_percentages_and_other_figures_are_not():
    assert {figure for e in EVALUATIONS.values() for figure in e.figures if is_percentage(figure)} == {
        "knn",
        "raw_pixels",
        "linear",
        "linear_train",
        "linear_cached",
        "linear_cached_train",
        "knn_shifted",
        "probe_one",
        "probe_all",
        "noise",
        "noise_gaussian",
        "noise_shot",
        "noise_impulse",
        "masking",
        "masking_units",
        "masking_block",
        "attack",
        "crops",
    }
    assert not is_percentage("loss")


@pytest.mark.parametrize("table", tables.names())
def test_every_figure_of_a_table_is_training_s_or_an_evaluation_s(table):
    grid = tables.grid(table)
    known = OF_TRAINING | {figure for evaluation in EVALUATIONS.values() for figure in evaluation.figures}
    reported = {figure for objective in OBJECTIVES.values() for figure in objective.reports}
    terms = {"local_global", "local_local"}  # loss terms that LoGo adds
    assert set(grid.metrics) <= known
    assert set(grid.doses) <= known | reported | terms


def test_vectors_are_made_once_for_all_measures_and_at_the_size_of_training(subject, monkeypatch):
    from partwhole.evaluation import subject as module

    sizes = []

    def recorded(*arguments, **options):
        sizes.append(options["size"])
        return module_features(*arguments, **options)

    module_features = module.features
    monkeypatch.setattr(module, "features", recorded)
    fresh = Subject(subject.network, subject.recipe, subject.train, subject.test, subject.device)
    EVALUATIONS["knn"].measure(fresh)
    EVALUATIONS["linear_cached"].measure(fresh)
    assert sizes == [subject.recipe.views.size] * 2


def test_without_labels_nothing_can_be_evaluated(subject):
    bare = replace(subject.test, labels=None)
    for train_set, test_set in ((subject.train, bare), (bare, subject.test)):
        with pytest.raises(
            BadInput, match=r"^scenes/plain has no labels, so nothing can be evaluated on it; choose"
        ):
            Subject(subject.network, subject.recipe, train_set, test_set, subject.device)
