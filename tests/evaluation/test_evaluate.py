"""Many structures: order, errors as values, batches, pools."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock import ConfigurationError, RootstockCalculator, StartupError, evaluate, prepare
from rootstock.errors import (
    CallTimeoutError,
    ModelError,
    PropertyMissingError,
    StructureError,
    WorkerDiedError,
)
from rootstock.runtime.session import Session
from rootstock.settings.root import Root
from rootstock.testing import FakeEvaluator
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import worker_pids


@pytest.fixture
def root(tmp_path) -> Root:
    """A root with the springs of ``batch_env.py``."""
    return root_with_fake_build(
        tmp_path, "springs", (TESTS / "support" / "batch_env.py").read_text()
    )


@pytest.fixture
def run(root):
    """Evaluate with the springs; return a list."""

    def run(structures, model="springs", **options):
        options = {"device": "cpu", "progress": False, **options}
        return list(evaluate(structures, model, root=root, **options))

    return run


def crystals(number: int, size: int = 2) -> list[Atoms]:
    images = []
    for seed in range(number):
        atoms = bulk("Cu", cubic=True) * (1 + seed % size, 1, 1)
        atoms.rattle(0.05, seed=seed)
        images.append(atoms)
    return images


def energies(evaluations) -> list:
    return [e.results["energy"] if e.ok else type(e.error) for e in evaluations]


def expected(images) -> list[float]:
    return [float((0.005 * a.numbers[:, None] * a.positions**2).sum()) for a in images]


# --- one by one -----------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_input(run):
    images = crystals(150)
    found = run(images)
    assert [e.index for e in found] == list(range(150))
    assert all(e.source is atoms for e, atoms in zip(found, images))
    np.testing.assert_allclose(energies(found), expected(images))


def test_results_equal_the_calculators_bit_for_bit(run, root):
    images = [*crystals(5), molecule("H2O")]
    with RootstockCalculator("springs", root=root, device="cpu") as calc:
        for atoms, evaluation in zip(images, run(images, exact=True)):
            assert calc.get_property("energy", atoms) == evaluation.results["energy"]
            assert (calc.get_property("forces", atoms) == evaluation.results["forces"]).all()


@pytest.mark.parametrize("structures", [[], iter(()), ()])
def test_nothing(run, structures):
    assert run(structures) == []


def test_a_structure_without_stress_has_the_rest(run):
    crystal, water = run([bulk("Cu"), molecule("H2O")])
    assert "stress" in crystal.results
    assert set(water.results) == {"energy", "forces"}


def test_properties_that_are_asked_for_are_required(run):
    crystal, water = run([bulk("Cu"), molecule("H2O")], properties=["energy", "stress"])
    assert crystal.ok
    assert isinstance(water.error, PropertyMissingError)
    with pytest.raises(PropertyMissingError):
        water.results


def test_each_error_is_its_structures(run):
    broken = [Atoms(), bulk("U"), bulk("Cu"), bulk("Cu"), bulk("Cu")]
    broken[2].positions[0, 0] = np.nan
    broken[3].info["do"] = "raise"
    broken[4].info["do"] = "die"
    good = crystals(20)
    images = [*good[:10], *broken, *good[10:]]
    found = run(images)
    kinds = [type(e.error) for e in found[10:15]]
    assert kinds == [StructureError, ModelError, StructureError, ModelError, WorkerDiedError]
    rest = [*found[:10], *found[15:]]
    np.testing.assert_allclose(energies(rest), expected(good))
    assert "structure 14 (1 atoms) ended 2 workers" in str(found[14].error)
    assert found[10].provenance is None and found[11].provenance is not None


def test_the_first_error_can_be_raised(run):
    images = crystals(3)
    images[1].info["do"] = "raise"
    with pytest.raises(ModelError, match="as info said"):
        run(images, on_error="raise")


def test_a_time_limit_holds_for_each_structure(root, tmp_path):
    from rootstock.testing import fake_environment

    fake = root_with_fake_build(tmp_path / "fake", "fake", fake_environment().read_text())
    images = crystals(4)
    images[1].info["do"] = "sleep-30"
    found = list(
        evaluate(images, "fake-misbehaving", root=fake, device="cpu", timeout=1.0, progress=False)
    )
    assert isinstance(found[1].error, CallTimeoutError)
    assert [e.ok for e in found] == [True, False, True, True]


def test_an_input_that_raises_raises_after_what_it_gave(root):
    def structures():
        yield from crystals(3)
        msg = "frame 3 is broken"
        raise ValueError(msg)

    found = []
    with pytest.raises(ValueError, match="frame 3 is broken"):
        for evaluation in evaluate(
            structures(), "springs", root=root, device="cpu", progress=False
        ):
            found.append(evaluation)  # noqa: PERF402  what came before the error counts
    assert len(found) == 3


def test_a_long_iterator_is_read_as_far_as_needed(root):
    read = itertools.count()
    images = crystals(7)

    def structures():
        for number in read:
            yield images[number % 7]

    stream = evaluate(structures(), "springs", root=root, device="cpu", progress=False)
    assert [next(stream).index for _ in range(500)] == list(range(500))
    stream.close()
    assert next(read) < 500 + 5000


# --- batches --------------------------------------------------------------------------------------


def test_batches_are_checked_once_and_used_where_they_are_faster(run, root):
    images = crystals(200)
    found = run(images, "springs-slow")
    np.testing.assert_allclose(energies(found), expected(images))
    assert [e.provenance.evaluation for e in found].count("batch") > 50
    last = found[-1].provenance
    assert last.atom_budget > 0 and last.batch_deviation["energy"] == 0.0
    again = run(images[:40], "springs-slow")  # the check was recorded
    assert {e.provenance.evaluation for e in again} == {"batch"}
    assert len(list((root.writable.records / "batches").rglob("*.json"))) == 1


def test_exact_never_batches(run):
    assert {e.provenance.evaluation for e in run(crystals(40), "springs-slow", exact=True)} == {
        "single"
    }


@pytest.mark.parametrize("model", ["springs-slow-wrong", "springs-slow-short"])
def test_a_batch_function_that_fails_its_check_is_not_used(run, model):
    images = crystals(60)
    found = run(images, model)
    np.testing.assert_allclose(energies(found), expected(images))
    assert {e.provenance.evaluation for e in found} == {"single"}


@pytest.mark.parametrize("model", ["springs-slow-memory", "springs-slow-dies"])
def test_batches_that_are_too_large_are_halved(run, model):
    images = crystals(300)
    found = run(images, model)
    np.testing.assert_allclose(energies(found), expected(images))
    assert "batch" in {e.provenance.evaluation for e in found}


def test_errors_in_batches_are_their_structures(run):
    images = crystals(120)
    for index, what in ((70, "raise"), (90, "die")):
        images[index].info["do"] = what
    images[100] = bulk("U")
    images[110] = molecule("H2O")
    found = run(images, "springs-slow")
    errors = {e.index: type(e.error) for e in found if not e.ok}
    assert errors == {70: ModelError, 90: WorkerDiedError, 100: ModelError}
    assert set(found[110].results) == {"energy", "forces"}


def test_a_fixed_budget(run):
    run(crystals(30), "springs-slow")
    found = run(crystals(60), "springs-slow", batch_atoms=16)
    assert {e.provenance.atom_budget for e in found} == {16}


# --- pools ----------------------------------------------------------------------------------------


def test_two_workers_share_the_work(root):
    images = crystals(100)
    stream = evaluate(
        images, "springs-slow", root=root, exact=True, devices=["cpu"], workers_per_device=2,
        progress=False,
    )  # fmt: skip
    found = list(stream)
    np.testing.assert_allclose(energies(found), expected(images))
    assert {e.provenance.threads for e in found} == {max(1, len(os.sched_getaffinity(0)) // 2)}


def test_results_as_they_come(run):
    images = crystals(100)
    found = run(images, ordered=False, workers_per_device=2)
    assert sorted(e.index for e in found) == list(range(100))
    np.testing.assert_allclose(energies(sorted(found, key=lambda e: e.index)), expected(images))


def test_a_device_that_does_not_exist(run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises((StartupError, ConfigurationError)):
        run(crystals(3), devices=["cpu", "cuda:7"])


def test_workers_that_do_not_fit_are_done_without(run):
    images = crystals(1200)
    with pytest.warns(RuntimeWarning, match="no room for a second model.*1 go on"):
        found = run(images, "springs-slow-alone", workers_per_device=2, exact=True)
    np.testing.assert_allclose(energies(found), expected(images))


def test_a_first_start_that_fails_once_is_tried_again(run, monkeypatch):
    start, errors = Session.start, [StartupError("the licence server did not answer")]

    def flaky(session):
        if errors:
            raise errors.pop()
        return start(session)

    monkeypatch.setattr(Session, "start", flaky)
    assert all(evaluation.ok for evaluation in run(crystals(3)))


def test_duplicates_and_mixed_boundaries(run):
    atoms, slab = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    images = [atoms, slab, atoms, molecule("H2O"), slab]
    for found in (run(images, exact=True), run(images, batch_atoms=1000)):
        np.testing.assert_allclose(energies(found), expected(images))
        assert [e.source for e in found] == images


def test_no_worker_is_replaced_once_the_iterator_is_closed(root):
    images = crystals(400)
    stream = evaluate(images, "springs-slow", root=root, device="cpu", exact=True, progress=False)
    next(stream)
    stream.close()
    assert not worker_pids()


def test_closing_the_iterator_ends_the_workers(root):
    images = crystals(50)
    images[3].info["do"] = "raise"
    stream = evaluate(images, "springs-slow", root=root, device="cpu", progress=False)
    next(stream)
    started = time.monotonic()
    stream.close()  # the fixtures check that no worker is left
    assert time.monotonic() - started < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("rootstock-")]


def test_ctrl_c_in_mid_evaluation(root):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    stream = evaluate(
        crystals(2000), "springs-slow", root=root, device="cpu", exact=True, progress=False
    )
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(stream)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_error": "ignore"}, ConfigurationError, "must be 'return' or 'raise'"),
        ({"workers_per_device": 0}, ConfigurationError, "positive integer"),
        ({"batch_atoms": -1}, ConfigurationError, "positive integer"),
        ({"devices": "cpu"}, ConfigurationError, "must be a list"),
        ({"devices": []}, ConfigurationError, "must be a list"),
        ({"devices": ["cpu", "quark"]}, ConfigurationError, "invalid device 'quark'"),
        ({"thread": 1}, TypeError, "did you mean 'threads'"),
        ({"properties": ["energi"]}, PropertyMissingError, "did you mean 'energy'"),
    ],
)
def test_invalid_arguments(run, options, error, message):
    with pytest.raises(error, match=message):
        run(crystals(1), **options)


def test_arguments_are_checked_before_the_first_result(root):
    with pytest.raises(ConfigurationError):
        evaluate([], "springs", root=root, workers_per_device=-1)


def test_arguments_of_evaluate_many(root):
    with RootstockCalculator("springs", root=root, device="cpu") as calc:
        with pytest.raises(ConfigurationError, match="batch_atoms=-1"):
            calc.evaluate_many([bulk("Cu")], batch_atoms=-1)


def test_a_batch_function_that_refuses_everything_is_not_used(run):
    images = crystals(40)
    assert energies(run(images, "springs-slow-refuses")) == pytest.approx(expected(images))


def test_any_evaluator(root):
    fake = FakeEvaluator({"energy": 1.0, "forces": np.zeros((4, 3)), "stress": np.zeros(6)})
    found = list(evaluate([bulk("Cu", cubic=True), Atoms()], fake, progress=False))
    assert energies(found) == [1.0, StructureError]
    with pytest.raises(ConfigurationError, match="threads"):
        evaluate([], fake, threads=1)


def test_a_spec(root):
    spec = prepare("springs", root=root, device="cpu")
    images = crystals(3)
    np.testing.assert_allclose(energies(evaluate(images, spec, progress=False)), expected(images))


def test_a_calculators_own_worker(root):
    images = crystals(30)
    with RootstockCalculator("springs", root=root, device="cpu") as calc:
        pid = calc.report.pid
        found = calc.evaluate_many(images)
        np.testing.assert_allclose(energies(found), expected(images))
        images[0].calc = calc
        assert images[0].get_potential_energy() == energies(found)[0]
        assert calc.report.pid == pid


# --- what comes out -------------------------------------------------------------------------------


def test_atoms_with_results(run):
    (evaluation,) = run([bulk("Cu", cubic=True)])
    atoms = evaluation.to_atoms()
    assert atoms is not evaluation.source
    assert atoms.get_potential_energy() == evaluation.results["energy"]
    assert atoms.get_forces().dtype == np.float64
    (failed,) = run([bulk("U")])
    with pytest.raises(ModelError):
        failed.to_atoms()


def test_progress_counts(root):
    seen = []
    images = crystals(30)
    images[5].info["do"] = "raise"
    list(evaluate(images, "springs", root=root, device="cpu", progress=seen.append))
    last = seen[-1]
    assert (last.done, last.errors, last.total) == (30, 1, 30)
    assert last.natoms == sum(map(len, images))
    assert last.seconds_left == 0.0
    assert "30 of 30 structures" in str(last) and "1 error," in str(last)
