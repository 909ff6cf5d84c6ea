"""Slow twin of `firemesh.emulator.flexnn.estimate`, written from docs/flexnn-schedule.md.

It walks through tiles, rounds and VPEs and adds up; nothing is multiplied that could be counted.
Ranges are those of the oracle, `oracle_flexnn_ranges`.
"""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist

from oracle_flexnn_ranges import DIMS, REDUCTION, TENSORS, Mapping, has_work, over, sizes_of

TINY = 1e-9


def upward(value):
    return math.ceil(value - TINY)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@functools.cache
def slowest(share, lanes, w, empty):
    """Return mean and variance of a window's cycles, and the chance that it has a pair."""
    chances = [math.comb(w, k) * share**k * (1 - share) ** (w - k) for k in range(w + 1)]
    below = [min(sum(chances[: k + 1]), 1) ** lanes for k in range(w + 1)]
    below[w] = 1
    exact = [below[0], *(b - a for a, b in itertools.pairwise(below))]
    cycles = [empty, *range(1, w + 1)]
    first = sum(p * c for p, c in zip(exact, cycles, strict=True))
    second = sum(p * c * c for p, c in zip(exact, cycles, strict=True))
    return first, max(second - first * first, 0), 1 - below[0]


def shared(act, weight, lanes, w, empty):
    """Return the same where the lanes share their activations."""
    if act == 1:
        return slowest(weight, lanes, w, empty)
    kept = act * w
    low = math.floor(kept)
    none = (1 - act) ** w

    def at(n):
        return (0, 0, 0) if n == 0 else slowest(weight, lanes, n, empty)

    found = [a + (kept - low) * (b - a) for a, b in zip(at(low), at(min(low + 1, w)), strict=True)]
    found[1] += kept * (1 - act) * weight**2
    return max(found[0], kept * weight + none * empty), found[1], min(found[2], 1 - none)


class Twin:
    """A descriptor on a layer; `cost` is (cycles, energy)."""

    def __init__(self, layer, descriptor, machine, densities, pj):
        self.layer, self.d, self.machine, self.pj = layer, descriptor, machine, pj
        self.sizes = dict(zip(DIMS, layer.sizes, strict=True))
        fields = descriptor.model_dump(mode="json")
        self.map = Mapping(self.sizes, fields, machine.array.columns)
        self.order = {
            name: [*fields[name], *(d for d in DIMS if d not in fields[name])]
            for name in ("order", "tile_order")
        }
        self.set_densities(densities)
        self.count_loops()
        self.measure()

    def set_densities(self, densities):
        pays, mode = self.machine.sparsity.pays_below, self.d.sparsity
        skips_if = mode in ("activation", "both") and densities.activations < pays
        skips_fl = mode in ("weight", "both") and densities.weights < pays
        self.real = self.share_on_ifmap() if skips_if else 1
        self.act = densities.activations if skips_if else 1
        self.weight = densities.weights if skips_fl else 1
        out = densities.activations if densities.outputs is None else densities.outputs
        packed = mode in ("activation", "both") and out < pays
        self.data = {"IF": self.act, "FL": self.weight, "OF": out if packed else 1}
        self.bits = {"IF": skips_if / 8, "FL": skips_fl / 8, "OF": packed / 8}

    def share_on_ifmap(self):
        found = []
        for axis, (o, f) in enumerate((("OY", "FY"), ("OX", "FX"))):
            for begin in range(self.sizes[o]):
                for tap in range(self.sizes[f]):
                    found.append((axis, len(self.rows(axis, (begin, begin + 1), (tap, tap + 1)))))
        return math.prod(mean(n for a, n in found if a == axis) for axis in (0, 1))

    def rows(self, axis, outputs, taps):
        stride, dilation = self.layer.strides[axis], self.layer.dilations[axis]
        low = outputs[0] * stride + taps[0] * dilation - self.layer.pads[axis]
        high = (outputs[1] - 1) * stride + (taps[1] - 1) * dilation - self.layer.pads[axis] + 1
        return range(max(low, 0), min(high, self.layer.ifmap[axis]))

    def elements(self, tensor, ranges):
        if not has_work(ranges):
            return 0
        n = sizes_of(ranges)
        if tensor != "IF":
            return math.prod(n[d] for d in TENSORS[tensor])
        height = len(self.rows(0, ranges["OY"], ranges["FY"]))
        width = len(self.rows(1, ranges["OX"], ranges["FX"]))
        return n["N"] * n["G"] * n["IC"] * height * width

    def stored(self, tensor, elements):
        return elements * self.data[tensor] + upward(elements * self.bits[tensor])

    # loops

    def count_loops(self):
        """Find which rounds and tiles move a loop at or outside a tensor's innermost own one."""
        step = {d: self.map.block[d] * self.map.parts[d] for d in DIMS}
        whole = {d: min(self.map.tile[d], self.sizes[d]) for d in DIMS}
        of_tiles = [("tile", d) for d in self.order["tile_order"] if whole[d] < self.sizes[d]]
        of_blocks = [("block", d) for d in self.order["order"] if step[d] < whole[d]]

        def indices(this, loops):
            return tuple(
                this.bounds[d][0] // self.map.tile[d] if kind == "tile" else this.block[d]
                for kind, d in loops
            )

        def moves(tensor, loops, items):
            own = [i for i, (_, d) in enumerate(loops) if d in TENSORS[tensor]]
            upto = loops[: own[-1] + 1] if own else []
            keys = [indices(this, upto) for this in items]
            return [i == 0 or keys[i] != keys[i - 1] for i in range(len(keys))]

        rounds = self.map.rounds
        firsts = [this for this in rounds if this.is_first]
        loops = [*of_tiles, *of_blocks]
        self.loads = {tensor: moves(tensor, loops, rounds) for tensor in TENSORS}
        self.tile_loads = {tensor: moves(tensor, of_tiles, firsts) for tensor in TENSORS}

    # rounds

    def measure(self):
        rounds, map_ = self.map.rounds, self.map
        machine, lanes = self.machine, self.machine.array.lanes
        used = [v for v in range(machine.array.n_vpes) if map_.is_used(v)]
        own = {(r, v): map_.vpe_ranges(this, v) for r, this in enumerate(rounds) for v in used}
        self.work = {key: ranges for key, ranges in own.items() if has_work(ranges)}
        self.n_used = len(used)
        self.mean = {t: mean(self.elements(t, this.ranges) for this in rounds) for t in TENSORS}
        self.bytes = {t: self.stored(t, self.mean[t]) for t in ("IF", "FL")}
        boxes = {}
        for ranges in self.work.values():
            for t in ("IF", "FL"):
                boxes[t, *(ranges[d] for d in TENSORS[t])] = self.elements(t, ranges)
        self.box = {t: mean(n for key, n in boxes.items() if key[0] == t) for t in ("IF", "FL")}
        self.flit = -(-machine.noc.flit_bits // 8) if machine.sdn.kind == "mesh" else 0
        self.hops = machine.array.rows + machine.array.columns
        if self.flit:
            self.measure_mesh(boxes)
        else:
            first = [map_.column_ranges(this, 0) for this in rounds]
            self.column = {t: mean(self.elements(t, ranges) for ranges in first) for t in TENSORS}
            for t in ("IF", "FL"):
                self.column[t] = self.stored(t, self.column[t])
        self.set_windows(lanes, len({v // machine.array.columns for v in used}))

    def flits(self, n_bytes):
        return upward(n_bytes / self.flit)

    def measure_mesh(self, boxes):
        """Count the flits of a load of each tensor, and of the results of a block."""
        rounds, is_unicast = self.map.rounds, self.machine.noc.multicast == "unicast"
        self.column = {}
        for t in ("IF", "FL"):
            wanted = {}  # round -> boxes
            for (r, _), ranges in self.work.items():
                wanted.setdefault(r, []).append(tuple(ranges[d] for d in TENSORS[t]))
            sent = sum(len(some if is_unicast else set(some)) for some in wanted.values())
            self.column[t] = self.flits(self.stored(t, self.box[t])) * sent / len(rounds)
        results = {
            tuple(ranges[d] for d in TENSORS["OF"]): self.elements("OF", ranges)
            for ranges in self.work.values()
        }
        n_blocks = len({tuple(this.ranges[d] for d in TENSORS["OF"]) for this in rounds})
        own, n = mean(results.values()), len(results) / n_blocks
        self.final, self.psums = n * self.flits(own), n * self.flits(4 * own)
        self.column["OF"] = self.psums / 4

    def dense(self, ranges):
        """Return windows, and cycles of a window, of a VPE where nothing is skipped."""
        n, lanes = sizes_of(ranges), self.machine.array.lanes
        is_mxm = self.d.lanes == "mxm"
        windows = n["N"] * n["G"] * n["OY"] * n["OX"]
        windows *= over(n["OC"], lanes) if is_mxm else n["OC"]
        return windows, n["FY"] * n["FX"] * (n["IC"] if is_mxm else over(n["IC"], lanes))

    def set_windows(self, lanes, n_rows):
        rounds, logic = self.map.rounds, self.machine.sparsity
        block = {d: min(self.map.block[d], self.sizes[d]) for d in DIMS}
        windows, w = self.dense({d: (0, block[d]) for d in DIMS})
        empty = logic.empty_window_cycles
        if self.d.lanes == "mxm":
            n = min(block["OC"], lanes)
            table = shared(self.act * self.real, self.weight, n, w, empty)
        else:
            n = over(block["IC"], over(block["IC"], lanes))
            table = slowest(self.act * self.real * self.weight, n, w, empty)
        cycles, self.some = table[0] / w, table[2]
        domain = {"vpe": 1, "column": n_rows, "array": self.n_used}[logic.barrier]
        late = 0
        if domain > 1:
            late = NormalDist().inv_cdf((domain - 0.375) / (domain + 0.25))
        barrier = cycles + late * math.sqrt(table[1] / (w * w * windows))
        dense = mean(math.prod(self.dense(self.work[r, 0])) for r in range(len(rounds)))
        self.compute = dense * min(barrier, max(cycles, 1))
        self.busy, self.cycles_share = dense * cycles, cycles

    def load(self, tensors, psums=0.0):
        machine = self.machine
        words = sum(upward(self.bytes[t] / machine.sram.read_bytes) for t in tensors)
        words += upward(self.mean["OF"] * psums / machine.sram.read_bytes)
        entering = sum(self.column[t] for t in tensors) + self.column["OF"] * psums
        if not self.flit:
            return max(words, upward(entering / machine.sdn.column_bytes))
        through = upward(entering)
        return max(words, through + self.hops if through else 0)

    def drain(self, size):
        machine, m = self.machine, self.mean["OF"]
        n = math.prod(self.map.parts[d] for d in REDUCTION)
        tree = 0
        if n > 1:
            depth = int(math.log2(n)) if self.d.reduction == "tree" else n - 1
            tree = depth + upward(m / machine.sdn.reduced_per_cycle)
        if not self.flit:
            return tree + upward(m * size / min(machine.sdn.drain_bytes, machine.sram.write_bytes))
        through = upward(self.out(size) / machine.sdn.storage_ports) + self.hops
        return tree + max(through, upward(m * size / machine.sram.write_bytes))

    def out(self, size):
        """Return the flits of a drain of which some points have 4 bytes, the others 1."""
        spilled = (size - 1) / 3
        return spilled * self.psums + (1 - spilled) * self.final

    @property
    def cost(self):
        machine, n_rounds = self.machine, len(self.map.rounds)
        n_of = sum(self.loads["OF"])
        blocks = {tuple(this.ranges[d] for d in TENSORS["OF"]) for this in self.map.rounds}
        again = 1 - len(blocks) / n_of
        leaving = 1 + 3 * again
        cycles = self.compute + machine.sdn.round_overhead_cycles
        moved = {"IF", "FL", "OF"}
        for r in range(1, n_rounds):
            changed = {t for t in TENSORS if self.loads[t][r]}
            load = self.load(changed - {"OF"}, 4 * again if "OF" in changed else 0)
            drain = self.drain(leaving) if "OF" in changed else 0
            if machine.sram.ports == "shared":
                load += drain
            cycles += max(self.compute + machine.sdn.round_overhead_cycles, load, drain)
            moved &= changed
        self.round_cycles = cycles
        part = self.load(moved - {"OF"}, 4 * again if "OF" in moved else 0)
        total = self.tiles(cycles, part)
        return total, self.energy(n_of, again, leaving, total)

    def tiles(self, cycles, part):
        width, n = self.machine.dram.bytes_per_cycle, len(self.map.tiles)
        job, count = {}, {}
        for t in TENSORS:
            boxes = {tuple(b[d] for d in TENSORS[t]): self.elements(t, b) for b in self.map.tiles}
            count[t] = len(boxes)
            size = self.data[t] + self.bits[t]
            job[t] = mean(boxes.values()) * size
        words = {t: upward(size / width) for t, size in job.items()}
        self.dram_read = sum(job[t] * sum(self.tile_loads[t]) for t in ("IF", "FL"))
        self.dram_written = job["OF"] * count["OF"]
        last = words["OF"] * (2 if n > 1 and count["OF"] == n else 1)
        first = self.load({"IF", "FL"})
        loop = cycles / n
        total = words["IF"] + words["FL"] + first + loop + self.drain(1) + last
        rounds = [this.number for this in self.map.rounds if this.is_first]
        stays = any(not self.loads[t][r] for r in rounds[1:] for t in TENSORS)
        for i in range(1, n):
            transfer = sum(words[t] for t in ("IF", "FL") if self.tile_loads[t][i])
            transfer += (words["OF"] * count["OF"] - last) / (n - 1)
            all_move = all(self.tile_loads[t][i] for t in TENSORS)
            transfer += part if stays and not all_move else first
            total += max(loop, transfer, (loop + self.drain(1) + transfer) / 2)
        return total

    def energy(self, n_of, again, leaving, total):
        pj, lanes = self.pj, self.machine.array.lanes
        is_mxm = self.d.lanes == "mxm"
        pairs = math.prod(self.sizes.values()) * self.act * self.real * self.weight
        found = pairs * (pj["rf_fl"] + 4 * pj["acc"] + pj["mac"])
        windows = positions = outputs = 0
        for ranges in self.work.values():
            n, w = self.dense(ranges)
            windows, positions = windows + n, positions + n * w
            outputs += self.elements("OF", ranges)
        found += pj["rf_if"] * (positions * self.cycles_share * self.some if is_mxm else pairs)
        found += 4 * outputs * self.some * pj["rf_of"]
        for t, read in (("IF", 1 if is_mxm else lanes), ("FL", lanes)):
            if self.bits[t]:
                size = windows * upward(read * positions / windows / 8)
                found += size * pj[f"bitmap_{t.lower()}"]
        hops = 0
        for (r, _), ranges in self.work.items():
            for t in ("IF", "FL"):
                if self.loads[t][r]:
                    data = self.elements(t, ranges) * self.data[t]
                    bits = upward(self.box[t] * self.bits[t])
                    found += data * pj[f"rf_{t.lower()}"] + bits * pj[f"bitmap_{t.lower()}"]
                    hops += data + bits
        points = self.mean["OF"] * n_of
        n = math.prod(self.map.parts[d] for d in REDUCTION)
        read = sum(self.bytes[t] * sum(self.loads[t]) for t in ("IF", "FL")) + 4 * again * points
        drained = points * leaving
        hops += 4 * again * points + drained
        if self.flit:
            hops = self.flit * self.links(n_of, again, leaving)
        hops += 4 * (n - 1) * points
        self.sram_read, self.sram_written = read, drained
        found += (read + drained) * pj["storage"]
        found += (4 * again * points + 4 * points * n) * pj["rf_of"] + hops * pj["hop"]
        found += (self.dram_read + self.dram_written) * (pj["dram"] + pj["storage"])
        idle = self.machine.array.n_vpes * total - self.n_used * self.busy * len(self.map.rounds)
        return found + max(idle, 0) * pj["idle"]

    def links(self, n_of, again, leaving):
        """Return flits times links and deliveries."""
        far = self.hops / 2 + 1
        found = n_of * (self.out(leaving) + again * self.psums) * far
        for r, _ in self.work:
            for t in ("IF", "FL"):
                if self.loads[t][r]:
                    n = self.flits(self.stored(t, self.box[t]))
                    found += n * (far if self.machine.noc.multicast == "unicast" else 2)
        if self.machine.noc.multicast == "tree":
            for t in ("IF", "FL"):
                found += self.column[t] * sum(self.loads[t]) * (far - 2)
        return found
