"""The list of tasks: every target comes from the atlas, on its scale and back."""

from __future__ import annotations

import numpy as np
import pytest

from data import atlas, tasks
from data.errors import QueryError
from data.land import sample_land
from data.tasks import EXTRA, TASKS, find_task, known, targets

PLACES = sample_land(3000, rng=np.random.default_rng(0))


@pytest.mark.parametrize("task", TASKS + EXTRA, ids=lambda task: task.name)
def test_targets_are_the_atlas_on_the_tasks_scale(task: tasks.Task) -> None:
    target = targets(task, PLACES)
    there = known(target)
    assert there.mean() > 0.95  # of land places
    if task.kind == "regression":
        np.testing.assert_allclose(task.inverse(target), atlas.sample(task.layer, PLACES), rtol=1e-9, atol=1e-9)
        assert target[there].std() > 0 and task.unit and not task.classes
    else:
        assert set(target[there].tolist()) <= set(task.classes) and not task.unit
        assert list(task.classes) == sorted(set(task.classes)) and "" not in task.classes


def test_values_by_hand() -> None:
    rome = [(12.49, 41.89)]
    assert targets(find_task("koppen"), rome).tolist() == ["Csa"]
    assert targets(find_task("country"), rome).tolist() == ["ITA"]
    assert targets(find_task("continent"), rome).tolist() == ["EU"]
    rain = atlas.sample("precipitation", rome)[0]
    assert targets(find_task("precipitation"), rome)[0] == pytest.approx(np.log10(1 + rain))


def test_numbers_of_classes() -> None:
    sizes = {task.name: len(task.classes) for task in TASKS + EXTRA if task.kind == "classification"}
    assert sizes == {"koppen": 31, "country": len(atlas.countries()), "continent": 7}


def test_the_sea_has_no_class_and_no_people() -> None:
    sea = [(-30.0, 30.0)]
    for name in ("koppen", "country", "continent", "population_density", "night_lights"):
        assert not known(targets(find_task(name), sea)).any(), name


def test_names_are_unique_and_unknown_ones_refused() -> None:
    names = [task.name for task in TASKS + EXTRA]
    assert len(TASKS) == 8 and len(set(names)) == len(names)
    with pytest.raises(QueryError, match=r"no task 'humidity'.*temperature, .*country, continent"):
        find_task("humidity")
