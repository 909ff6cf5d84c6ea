"""A reader of CTF traces that believes their metadata: no word of the exporter's code is used."""

import re
from pathlib import Path

import numpy as np

MAGIC = 0xC1FC1FC1


class CtfTrace:
    """A trace's ``enums`` (name -> number -> label), ``clock`` in Hz and events by name."""

    def __init__(self, folder):
        self.folder = Path(folder)
        text = (self.folder / "metadata").read_text("ascii")
        self.integers = {}
        for body, name in re.findall(r"typealias integer \{(.*?)\} := (\w+);", text, re.S):
            told = dict(re.findall(r"(\w+) = ([\w.]+);", body))
            assert (told["align"], told["byte_order"]) == ("8", "le")
            self.integers[name] = f"<{'ui'[told['signed'] == 'true']}{int(told['size']) // 8}"
        self.enums = {}
        for name, kind, body in re.findall(r"\nenum (\w+) : (\w+) \{(.*?)\n\};", text, re.S):
            self.integers[f"enum {name}"] = self.integers[kind]
            labels = re.findall(r'"((?:[^"\\]|\\.)*)" = (\d+)', body)
            self.enums[name] = {int(number): label for label, number in labels}
        self.clock = int(re.search(r"clock \{.*?freq = (\d+);", text, re.S)[1])
        self.header = self.fields(re.search(r"packet.header := struct \{(.*?)\}", text, re.S)[1])
        self.streams = {}
        for body in re.findall(r"\nstream \{(.*?)\n\};", text, re.S):
            number = int(re.search(r"id = (\d+);", body)[1])
            parts = re.findall(r"packet.context|event.header", body)
            told = [self.fields(one) for one in re.findall(r"struct \{(.*?)\}", body, re.S)]
            self.streams[number] = dict(zip(parts, told, strict=True))
        for body in re.findall(r"\nevent \{(.*?)\n\};", text, re.S):
            stream = self.streams[int(re.search(r"stream_id = (\d+);", body)[1])]
            stream["name"] = re.search(r'name = "(\w+)";', body)[1]
            stream["fields"] = self.fields(re.search(r"struct \{(.*?)\}", body, re.S)[1])

    def fields(self, body):
        return [
            (name, self.integers[kind])
            for kind, name in re.findall(r"((?:enum )?\w+) (\w+);", body)
        ]

    def packets(self):
        """Yield name, timestamp_begin, timestamp_end and events of each packet of each file."""
        for path in sorted(self.folder.iterdir()):
            data = b"" if path.name == "metadata" else path.read_bytes()
            while data:
                magic, number = np.frombuffer(data, np.dtype(self.header), 1)[0].tolist()
                assert magic == MAGIC
                stream = self.streams[number]
                context = np.dtype(stream["packet.context"])
                head = np.dtype(self.header).itemsize
                told = np.frombuffer(data, context, 1, head)[0]
                end, content = int(told["packet_size"]) // 8, int(told["content_size"]) // 8
                kind = np.dtype(stream["event.header"] + stream["fields"])
                events = np.frombuffer(data[head + context.itemsize : content], kind)
                first, last = int(told["timestamp_begin"]), int(told["timestamp_end"])
                yield stream["name"], first, last, events
                data = data[end:]

    def events(self, name):
        """Return all events of a name, in the order of the file."""
        return np.concatenate([events for one, _, _, events in self.packets() if one == name])
