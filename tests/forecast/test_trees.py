"""Trees come from a child process that ends; without it the stand-in answers and says why."""

import sys

import numpy as np
import pytest

from ems.forecast import trees
from ems.forecast.catalogue import load_forecaster
from ems.forecast.trees import QuantileTrees, Tree, fit_in_child
from tests.forecast.series_maker import daily, known

LEADS = np.array([1, 6])


def test_a_tree_is_walked_as_it_is_written():
    tree = Tree(np.array([0, 1]), np.array([0.5, 2.0]), np.array([-1, -2]), np.array([1, -3]), np.array([10.0, 20.0, 30.0]))
    x = np.array([[0.5, 9.0], [0.6, 2.0], [0.6, 2.1]])
    assert list(tree.values(x)) == [10.0, 20.0, 30.0]
    assert (
        list(Tree(*(np.array([], dtype=int),) * 1, np.array([]), np.array([], int), np.array([], int), np.array([7.0])).values(x))
        == [7.0] * 3
    )


def test_the_child_fits_and_this_process_never_loads_the_library():
    values, loaded = daily(3.1, noise=10.0), "lightgbm" in sys.modules  # a test before this one may have loaded it
    models = fit_in_child(known(values), LEADS)
    assert len(models) == 3 and all(models)
    assert ("lightgbm" in sys.modules) == loaded
    forecaster = QuantileTrees(LEADS, load_forecaster("linear", LEADS))
    f = forecaster.update(known(values[:-1]))
    assert f.source == "trees" and f.reason == ""
    assert abs(f.q(0.5)[0] - values[-1]) < 120.0
    assert (f.q(0.9) > f.q(0.1)).all()


def test_without_the_library_the_stand_in_answers_and_the_reason_is_named(monkeypatch):
    absent = "import sys; print('lightgbm absent: libgomp.so.1: cannot open shared object file', file=sys.stderr); sys.exit(3)"
    run = trees.subprocess.run
    monkeypatch.setattr(trees.subprocess, "run", lambda command, **more: run([sys.executable, "-c", absent], **more))
    f = QuantileTrees(LEADS, load_forecaster("linear", LEADS)).update(known(daily(3)))
    assert f.reason == "lightgbm absent: libgomp.so.1: cannot open shared object file"
    assert np.isfinite(f.values).all() and f.source == "linear"


def test_a_fit_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(trees, "LONGEST_FIT_S", 0.01)
    with pytest.raises(trees.ChildFailed, match="TimeoutExpired"):
        fit_in_child(known(daily(3)), LEADS)
