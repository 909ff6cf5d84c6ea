"""The mapping: PEs needed, filter groups, psum words, weight rows, tiles, what does not fit."""

import re
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mappings import TILES, machines, mappings, network_of, shapes, tiles_of

from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.mapping import (
    MappingError,
    candidates,
    conv_pes,
    fully_connected_pes,
    linear,
    row_cycles,
    with_tile,
)
from firemesh.emulator.mnf.plan import make_plan
from firemesh.emulator.mnf.steps import Residency
from firemesh.emulator.shape import ConvShape
from firemesh.encoders.events import Window
from firemesh.models.network import Conv, Network, Tensor

quick = settings(deadline=None)


# --- Equations 1 and 2 ---


@pytest.mark.paper
def test_two_maps_of_28_by_28_need_two_pes_where_equation_1_as_printed_gives_one():
    """MNF, section 5.3: 28 x 28 ifmap, padding of one, two 3x3 filters, N = 800, W = 9000: two PEs.

    Eq. 1 as printed, max(w*h / N, k*k*c / W) with c filters, counts the psums of one map only.
    """
    as_printed = ceil(max(Fraction(28 * 28, 800), Fraction(3 * 3 * 2, 9000)))
    assert as_printed == 1
    assert conv_pes((28, 28), (3, 3), 1, 2, 800, 9000) == 2


@pytest.mark.paper
def test_1568_inputs_and_128_outputs_need_23_pes_and_26_when_neurons_are_not_split():
    """MNF, section 5.3 and Eq. 2: W = 9000 gives 23 PEs (N = 800 as in the example before)."""
    assert fully_connected_pes(1568, 128, 800, 9000) == 23
    whole_neurons_per_pe = 9000 // 1568
    assert ceil(128 / whole_neurons_per_pe) == 26


SIZES = st.integers(1, 40)


@given(ofmap=st.tuples(SIZES, SIZES), k=st.integers(1, 5), c_in=SIZES, c_out=SIZES, data=st.data())
def test_conv_pes_is_the_least_number_that_holds_whole_maps_and_all_weights(
    ofmap, k, c_in, c_out, data
):
    psums, weights = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000))
    maps = 0
    while (maps + 1) * ofmap[0] * ofmap[1] <= psums:
        maps += 1
    needed = conv_pes(ofmap, (k, k), c_in, c_out, psums, weights)

    def fits(n):
        return n * maps >= c_out and n * weights >= k * k * c_in * c_out

    assert needed == 0 if maps == 0 else fits(needed) and not fits(needed - 1)


@given(inputs=SIZES, outputs=SIZES, psums=SIZES, weights=st.integers(1, 500))
def test_fully_connected_pes_is_the_least_number_that_holds_outputs_and_weights(
    inputs, outputs, psums, weights
):
    needed = fully_connected_pes(inputs, outputs, psums, weights)

    def fits(n):
        return n * psums >= outputs and n * weights >= inputs * outputs

    assert fits(needed) and not fits(needed - 1)


# --- Filter groups ---


@quick
@given(mapping=mappings())
def test_filter_groups_cut_each_convolution_group_in_order_and_only_its_last_may_be_short(mapping):
    shape = mapping.shape
    for number in range(shape.groups):
        groups = [group for group in mapping.groups if group.conv_group == number]
        filters = [f for group in groups for f in range(group.first, group.first + group.size)]
        first = number * shape.group_filters
        assert filters == list(range(first, first + shape.group_filters))
        assert all(group.size == mapping.filters for group in groups[:-1])
        assert 0 < groups[-1].size <= mapping.filters


@quick
@given(mapping=mappings())
def test_filter_groups_are_dealt_round_robin_through_all_convolution_groups(mapping):
    held = Counter()
    for i, group in enumerate(mapping.groups):
        assert group.pe == i % mapping.n_pes
        assert group.number == held[group.pe]
        held[group.pe] += 1
    assert [group.conv_group for group in mapping.groups] == sorted(
        group.conv_group for group in mapping.groups
    )
    assert mapping.most_groups == max(held.values())
    for pe in range(mapping.n_pes):
        assert mapping.groups_of(pe) == [group for group in mapping.groups if group.pe == pe]


@quick
@given(mapping=mappings())
def test_the_filters_and_positions_of_a_row_fill_the_multipliers(mapping):
    a, b = mapping.tile
    assert mapping.filters * a * b == mapping.modules * mapping.lanes
    assert mapping.row_positions == a * b
    assert not mapping.is_linear or mapping.filters == mapping.lanes


# --- Psum words ---


@quick
@given(mapping=mappings())
def test_every_psum_has_a_place_of_its_own_inside_the_banks(mapping):
    seen = set()
    height, width = mapping.shape.window.ofmap
    for group in mapping.groups_of(0):
        for f, y, x in product(range(group.size), range(height), range(width)):
            module, word = mapping.word(group.number, f, y, x)
            assert 0 <= module < mapping.modules
            assert 0 <= word < mapping.bank_words
            seen.add((module, word, f % mapping.lanes))
    assert len(seen) == sum(group.size for group in mapping.groups_of(0)) * height * width


@quick
@given(mapping=mappings(tiles=()))
def test_linear_psums_lie_in_raster_order_around_the_modules(mapping):
    height, width = mapping.shape.window.ofmap
    per_group = ceil(Fraction(height * width, mapping.modules))
    for n in range(height * width):
        place = mapping.word(2, 0, *divmod(n, width))
        assert place == (n % mapping.modules, 2 * per_group + n // mapping.modules)


@quick
@given(mapping=mappings())
def test_filters_of_one_word_are_consecutive(mapping):
    for start in range(0, mapping.filters, mapping.lanes):
        words = {mapping.word(0, start + lane, 0, 0) for lane in range(mapping.lanes)}
        assert len(words) == 1


@quick
@given(mapping=mappings(has_linear=False))
def test_no_event_makes_a_row_touch_a_module_twice(mapping):
    shape, window = mapping.shape, mapping.shape.window
    meets = [defaultdict(list), defaultdict(list)]
    for axis in (0, 1):
        for o, k in product(range(window.ofmap[axis]), range(window.kernel[axis])):
            at = window.strides[axis] * o + window.dilations[axis] * k - window.pads[axis]
            meets[axis][at].append((k, o))
    most = 0
    for kernel_positions in tiles_of(shape, mapping.tile).values():
        assert len(kernel_positions) <= mapping.tile[0] * mapping.tile[1]
        for y, x in product(range(shape.height), range(shape.width)):
            touched = [
                mapping.word(0, f, oy, ox)[0]
                for (ky, oy), (kx, ox) in product(meets[0][y], meets[1][x])
                if (ky, kx) in kernel_positions
                for f in range(0, mapping.filters, mapping.lanes)
            ]
            assert len(touched) == len(set(touched))
            most = max(most, len(touched))
    assert most <= mapping.modules


# --- Tiles ---


def event_rows(shape, tile):
    """Return the rows of a filter group that an event far from borders reads, phases averaged."""
    n_phases = shape.window.strides[0] * shape.window.strides[1]
    return Fraction(len(tiles_of(shape, tile)), n_phases)


@quick
@given(shape=shapes(), on=machines())
def test_no_tile_has_fewer_cycles_of_the_busiest_pe_than_the_automatic_one(shape, on):
    costs = {}
    for tile in on.pe.tiles:
        filters = on.pe.multipliers // (tile[0] * tile[1])
        n_groups = shape.groups * ceil(shape.group_filters / filters)
        costs[tile] = ceil(n_groups / on.n_pes) * event_rows(shape, tile)
    assert costs[candidates(shape, on)[0].tile] == min(costs.values())


@quick
@given(shape=shapes(), on=machines())
def test_tiles_come_in_ascending_order_of_their_cycles(shape, on):
    found = candidates(shape, on)
    assert {option.tile for option in found} == set(on.pe.tiles)
    assert [row_cycles(option) for option in found] == sorted(map(row_cycles, found))


def one_row_words(shape, tile):
    """Return the most words that one ofmap row of a filter group takes, from the text."""
    (e_y, e_x), width = map(shape.window.ofmap_step, (0, 1)), shape.window.ofmap[1]
    return e_y * e_x * ceil(Fraction(width, e_x * tile[1]))


@quick
@given(shape=shapes(), on=machines(), words=st.integers(1, 12))
def test_a_tile_of_which_one_row_does_not_fit_a_bank_is_passed_over(shape, on, words):
    small = on.replace(pe__psum_bank_bytes=words * 4 * on.pe.lanes)
    options = [with_tile(shape, tile, on.pe, on.n_pes) for tile in on.pe.tiles]
    fitting = [option for option in options if one_row_words(shape, option.tile) <= words]
    if not fitting:
        with pytest.raises(MappingError, match=r"^layer conv: one ofmap row of "):
            make_plan(network_of(shape), small)
        return
    chosen = make_plan(network_of(shape), small).steps[0].mapping
    assert chosen in fitting
    assert row_cycles(chosen) == min(map(row_cycles, fitting))


@pytest.mark.parametrize(
    ("filters", "kernel", "equal"),
    [
        (297, (3, 3), TILES),
        (27, (1, 1), TILES),
        (99, (1, 1), ((3, 1), (1, 3), (1, 1))),
        (297, (1, 3), ((1, 3), (1, 1))),
    ],
)
def test_among_equal_tiles_the_largest_then_the_first_of_3x3_3x1_1x3_1x1_is_taken(
    filters, kernel, equal
):
    on = machine("mnf-22nm")
    window = Window(kernel, (1, 1), (1, 1), (0, 0), (1, 1))
    shape = ConvShape(filters, 1, *kernel, 1, window)
    cycles = {t: row_cycles(with_tile(shape, t, on.pe, on.n_pes)) for t in TILES}
    assert tuple(t for t in TILES if cycles[t] == min(cycles.values())) == equal
    assert candidates(shape, on)[0].tile == equal[0]


@quick
@given(shape=shapes(), on=machines(), data=st.data())
def test_a_tile_that_the_machine_names_is_taken(shape, on, data):
    tile = data.draw(st.sampled_from(on.pe.tiles))
    named = on.replace(pe__tile=f"{tile[0]}x{tile[1]}")
    assert candidates(shape, named) == [with_tile(shape, tile, on.pe, on.n_pes)]


@quick
@given(shape=shapes(), on=machines())
def test_linear_rows_are_taken_when_the_machine_names_them(shape, on):
    named = on.replace(pe__row_layout="linear")
    assert candidates(shape, named) == [linear(shape, on.pe, on.n_pes)]


def layer(filters, kernel, stride=1, groups=1):
    window = Window((kernel, kernel), (stride, stride), (1, 1), (0, 0), (1, 1))
    return ConvShape(filters, groups, kernel, kernel, groups, window)


def utilisation(shape, tile):
    """Return the share of slots that an event multiplies in, away from borders, all weights dense.

    Counted over the cycles of the busiest PE; events of all convolution groups mixed.
    """
    on = machine("mnf-22nm")
    held = Counter(group.pe for group in with_tile(shape, tile, on.pe, on.n_pes).groups)
    cycles = Fraction(max(held.values()), shape.groups) * event_rows(shape, tile)
    kernel, strides = shape.window.kernel, shape.window.strides
    products = Fraction(shape.group_filters * kernel[0] * kernel[1], strides[0] * strides[1])
    return float(products / (cycles * on.multipliers))


@pytest.mark.paper
@pytest.mark.parametrize(
    ("shape", "tile", "share"),
    [
        pytest.param(layer(64, 3), (3, 3), 0.97, id="VGG conv1"),
        pytest.param(layer(128, 3), (3, 3), 0.97, id="VGG conv2"),
        pytest.param(layer(256, 3), (3, 3), 0.97, id="VGG conv3"),
        pytest.param(layer(512, 3), (3, 3), 0.97, id="VGG conv4 and 5"),
        pytest.param(layer(96, 11, 4), (3, 1), 0.89, id="AlexNet conv1"),
        pytest.param(layer(384, 3), (3, 3), 0.97, id="AlexNet conv3"),
        pytest.param(layer(384, 3, groups=2), (3, 3), 0.97, id="AlexNet conv4"),
        pytest.param(layer(256, 3, groups=2), (3, 3), 0.97, id="AlexNet conv5"),
        pytest.param(layer(64, 7, 2), (3, 3), 0.59, id="7x7 s2"),
        pytest.param(layer(128, 3, 2), (1, 1), 0.43, id="3x3 s2, 128 filters"),
        pytest.param(layer(64, 1), (3, 1), 0.22, id="1x1, 64 filters"),
        pytest.param(layer(256, 1), (1, 1), 0.86, id="1x1, 256 filters"),
        pytest.param(layer(512, 1), (1, 1), 0.86, id="1x1, 512 filters"),
        pytest.param(layer(2048, 1), (1, 1), 0.99, id="1x1, 2048 filters"),
        pytest.param(layer(4096, 1), (1, 1), 0.99, id="FC 4096"),
    ],
)
def test_the_tile_of_eleven_pes_uses_the_expected_share_of_dense_slots(shape, tile, share):
    """Derived from the machine of MNF, Table 3 (notes on it, section 2), within .01."""
    assert candidates(shape, machine("mnf-22nm"))[0].tile == tile
    assert utilisation(shape, tile) == pytest.approx(share, abs=0.01)
    assert utilisation(shape, tile) == max(utilisation(shape, t) for t in TILES)


@pytest.mark.paper
def test_alexnets_grouped_conv2_uses_67_percent_with_3x3_and_86_with_the_tile_that_is_chosen():
    """The notes' figure is that of 3x3, within .01.

    1x1 makes five filter groups of each convolution group and deals them to ten PEs, so that
    events of both groups are worked on side by side.
    """
    conv2 = layer(256, 5, groups=2)
    assert utilisation(conv2, (3, 3)) == pytest.approx(0.67, abs=0.01)
    assert candidates(conv2, machine("mnf-22nm"))[0].tile == (1, 1)
    assert utilisation(conv2, (1, 1)) == pytest.approx(0.86, abs=0.01)


# --- What does not fit ---


def network(filters=6, size=8, channels=2, kernel=3):
    rng = np.random.default_rng(0)
    conv = Conv(
        name="wide",
        inputs=("x",),
        output="y",
        weight=rng.integers(1, 128, (filters, channels, kernel, kernel)).astype(np.int8),
        weight_zero_point=np.zeros(filters, np.int32),
        multiplier=np.full(filters, 0.01, np.float32),
        bias=np.zeros(filters, np.int32),
        low=0,
        high=127,
        pads=(kernel // 2,) * 4,
    )
    tensors = {
        "x": Tensor("x", (channels, size, size), "int8"),
        "y": Tensor("y", (filters, size, size), "int8"),
    }
    return Network("net", (conv,), tensors, ("x",), ("y",))


def refusal(network, on, known=()):
    """Return the sentence and the numbers in it, but for those that are known."""
    with pytest.raises(MappingError) as error:
        make_plan(network, on)
    numbers = map(int, re.findall(r"\d+", str(error.value)))
    return str(error.value), [number for number in numbers if number not in known]


def test_a_row_of_psums_that_fits_no_bank_is_refused_with_the_bank_that_holds_it():
    on = machine("mnf-tiny").replace(pe__psum_bank_bytes=16)
    sentence, (words, held, enough) = refusal(network(filters=20), on, (8, 1))
    assert sentence == (
        f"layer wide: one ofmap row of 8 psums and one filter group need {words} words in a psum "
        f"bank, which holds {held}; use a machine with pe.psum_bank_bytes of at least {enough}"
    )
    assert (words, held, enough) == (3, 16 // 8, 3 * 8)  # 1x3: eight psums in three modules
    (step,) = make_plan(network(filters=20), on.replace(pe__psum_bank_bytes=enough)).steps
    assert len(step.waves) == 8 * step.mapping.most_groups
    refusal(network(filters=20), on.replace(pe__psum_bank_bytes=enough - 1))


def test_psums_that_do_not_fit_at_once_are_cut_and_in_banks_that_hold_them_are_not():
    on = machine("mnf-tiny")
    (step,) = make_plan(network(filters=20), on).steps
    enough = step.mapping.bank_words * 8
    at = [on.replace(pe__psum_bank_bytes=size) for size in (enough, enough - 1)]
    whole, cut = (make_plan(network(filters=20), one).steps[0] for one in at)
    assert len(whole.waves) == 1 < len(cut.waves)


def test_a_channel_of_which_no_pe_holds_the_rows_is_refused_with_the_memory_that_holds_them():
    on = machine("mnf-tiny").replace(pe__weight_bytes=12)
    four = network(filters=4)  # two PEs hold two filters each, the third one none
    sentence, _ = refusal(four, on)
    pattern = (
        r"^layer wide: one input channel of one filter group needs (\d+) weight rows, a PE holds "
        r"(\d+) \(by capacity alone the layer needs \d+ PEs, Eq\. 1 and 2\); use a machine with "
        r"pe\.weight_bytes of at least (\d+)$"
    )
    needed, held, enough = map(int, re.match(pattern, sentence).groups())
    assert (needed, held, enough) == (3, 12 // 6, 3 * 6)  # three runs of three taps
    (step,) = make_plan(four, on.replace(pe__weight_bytes=enough)).steps
    assert [wave.channels for wave in step.waves] == [(0, 1), (1, 2)]
    refusal(four, on.replace(pe__weight_bytes=enough - 1))


def test_weights_that_do_not_fit_at_once_come_in_and_in_memories_that_hold_them_stay():
    four, on = network(filters=4), machine("mnf-tiny")  # three rows, two channels
    whole, cut = (make_plan(four, on.replace(pe__weight_bytes=6 * n)) for n in (6, 5))
    assert whole.steps[0].residency is Residency.NETWORK
    assert whole.load_cycles > 0
    assert cut.steps[0].residency is Residency.WAVE
    assert cut.load_cycles == 0


def test_activations_that_do_not_fit_are_refused_with_the_storage_that_holds_them():
    on = machine("mnf-tiny").replace(storage__bytes=100)
    needed = 8 * (2 * 8 * 8 + 6 * 8 * 8)
    sentence = (
        f"^network net: its activations need {needed} bytes of storage, mnf-tiny has 100; "
        f"set storage.bytes to at least {needed} or to null$"
    )
    with pytest.raises(MappingError, match=sentence):
        make_plan(network(), on)
    make_plan(network(), on.replace(storage__bytes=needed))
