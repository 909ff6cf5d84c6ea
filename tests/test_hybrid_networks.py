"""Networks of the zoo whose layers' modes are chosen: exact, and never worse than a pure mode."""

import pytest

import firemesh
from firemesh.emulator.check import differences
from firemesh.emulator.flexnn.plan import Search
from firemesh.emulator.hybrid.assign import OBJECTIVES
from firemesh.emulator.hybrid.plan import make_choices
from firemesh.emulator.modes import Modes
from firemesh.emulator.run import make_emulation

MACHINE = firemesh.machine("hybrid-256")


def value(result, objective):
    """Return what is to be small: whole cycles, and energy to a part in a million."""
    pj = round(sum(result.energy.values()))
    return {"cycles": result.cycles, "energy": pj, "edp": result.cycles * pj}[objective]


def frames_of(name, n):
    return firemesh.load(name), firemesh.images(name, n)[0][:n]


def chosen(network, inputs, objective="cycles"):
    """Return the emulation of a network in mode auto."""
    return make_emulation(network, MACHINE, search=Search(objective), frames=inputs)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_digits_is_exact_in_mode_auto(objective):
    network, inputs = frames_of("digits", 10)
    emulation = chosen(network, inputs, objective)
    for frame in emulation.frames(inputs):
        n, wrong = differences(network, frame, inputs[frame.number], 0)
        assert n >= 7 and not wrong


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["digits", "lenet5"])
def test_small_networks_are_never_worse_than_in_a_pure_mode(name, objective):
    network, inputs = frames_of(name, 1)
    run = {
        mode: firemesh.run(network, inputs, MACHINE, mode, search=Search(objective))
        for mode in ("auto", "flexnn")
    }
    run["mnf"] = firemesh.run(network, inputs, MACHINE, "mnf")
    best = min(value(run[mode], objective) for mode in ("mnf", "flexnn"))
    assert value(run["auto"], objective) <= best * (1 + 1e-6 * (objective != "cycles"))
    assert run["auto"].cycles == run["auto"].decision.total.cycles


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_networks_with_branches_are_exact_in_mode_auto(name):
    network, inputs = frames_of(name, 1)
    emulation = chosen(network, inputs)
    [frame] = emulation.frames(inputs)
    assert differences(network, frame, inputs[0], 0)[1] == []
    assert sum(layer.cycles for layer in frame.results) == emulation.decision.total.cycles


@pytest.mark.slow
def test_a_network_with_branches_is_exact_where_neighbours_have_different_modes():
    network, inputs = frames_of("googlenet", 1)
    names = [layer.name for layer in network.layers]
    modes = {name: ("mnf", "flexnn")[i % 2] for i, name in enumerate(names[:60])}
    choices = make_choices(network, MACHINE)
    wanted = {unit.name: modes.get(unit.name, "flexnn") for unit in choices.units}
    emulation = make_emulation(network, MACHINE, modes=Modes(wanted), frames=inputs)
    [frame] = emulation.frames(inputs)
    assert differences(network, frame, inputs[0], 0)[1] == []
    assert sum(layer.mode == "convert" for layer in frame.results) > 30


@pytest.mark.benchmark
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["vgg16", "alexnet", "resnet50", "mobilenetv2", "googlenet"])
def test_networks_are_never_worse_than_in_a_pure_mode(name, objective):
    network, inputs = frames_of(name, 1)
    search = Search(objective)
    auto = firemesh.run(network, inputs, MACHINE, "auto", search=search)
    for mode, more in (("mnf", {}), ("flexnn", {"search": search})):
        pure = firemesh.run(network, inputs, MACHINE, mode, **more)
        assert value(auto, objective) <= value(pure, objective) * (
            1 + 1e-6 * (objective != "cycles")
        )
