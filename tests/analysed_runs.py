"""Traces of small runs in every mode, and the command line's ``firemesh trace``, for tests."""

import firemesh
from firemesh.emulator.cli import main

MODES = {"mnf": "mnf-22nm", "flexnn": "flexnn-edge", "auto": "hybrid-256"}
CHANGES = {
    "chain": {"noc__multicast": "chain", "noc__buffer_flits": 1},
    "small": {"pe__event_fifo": 2, "pe__row_fifo": 1},
    "lanes": {"pe__fire_lanes": 3},
}
"""Fields of mnf-22nm that are changed."""
FRAMES = {"frames": (0, 1), "others": (0, 2), "twice": (0, 0)}
"""Images of digits; the first one alone by default."""


def runs(tmp_path_factory):
    """Return name -> path of a trace of digits, each made once."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def find(name):
        if name not in made:
            made[name] = folder / f"{name}.h5"
            mode = name if name in MODES else "mnf"
            machine = firemesh.machine(MODES[mode])
            if name in CHANGES:
                machine = machine.replace(**CHANGES[name])
            images = firemesh.images("digits", 3)[0][list(FRAMES.get(name, (0,)))]
            firemesh.run("digits", images, machine, mode=mode, trace=made[name])
        return made[name]

    return find


def ended(capsys, *arguments):
    """Run ``firemesh trace``; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["trace", *map(str, arguments)])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    return code, told.out, told.err
