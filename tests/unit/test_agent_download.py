"""Downloads: wherever the line is cut, however often, the same tree comes out, and each byte once."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.agent.download import Download, Progress
from edgewise.agent.errors import AgentError
from edgewise.agent.store import Store
from edgewise.provenance.digests import sha256_hex, tree_digest
from edgewise.provenance.oci import Registry
from edgewise.provenance.transport import Transport
from tests.unit.agent_world import read_tree
from tests.unit.provenance_world import files_of
from tests.unit.small_registry import Handler, SmallRegistry, running

pytestmark = pytest.mark.enable_socket

DATA = bytes(range(251)) * 40


def download(root: Path, registry: SmallRegistry, content: dict[str, bytes]) -> tuple[Download, Store]:
    files = files_of(content)
    store = Store(root, "boot")
    tree = tree_digest((file.path, file.sha256) for file in files).hex
    sources = [f"oci://{registry.authority}/m@sha256:{'0' * 64}"]
    progress = Progress(sum(file.size for file in files))
    client = Registry(Transport(frozenset({registry.authority}), timeout=5))
    return Download(store, client, tree, files, sources, progress, frozenset), store


@given(st.lists(st.integers(1, len(DATA) - 1), max_size=6))
@settings(max_examples=25, deadline=None)
def test_cuts_anywhere(cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder, running(SmallRegistry()) as registry:
        path = f"GET /v2/m/blobs/{registry.put_blob(DATA)}"
        left = list(cuts)

        def cut(handler: Handler) -> None:
            """Send up to `left[0]` bytes of what is asked for, then hang up."""
            asked = handler.headers.get("Range")
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            body = DATA[start:]
            sent = left.pop(0) if left else len(body)
            handler.send_response(206 if asked else 200)
            handler.send_header("Content-Length", str(len(body)))
            if asked:
                handler.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
            handler.end_headers()
            handler.wfile.write(body[:sent])
            registry.bytes_sent += len(body[:sent])
            handler.close_connection = True

        registry.lies[path] = cut
        job, store = download(Path(folder), registry, {"model.onnx": DATA})
        job.run()
        assert read_tree(store.path(job.tree)) == {"model.onnx": DATA}
        assert registry.bytes_sent == len(DATA)
        assert job.progress.received == len(DATA)


def test_equal_files_are_fetched_once_and_empty_ones_never(tmp_path: Path) -> None:
    with running(SmallRegistry()) as registry:
        registry.put_blob(DATA)
        content = {"a": DATA, "b/c": DATA, "empty": b""}
        job, store = download(tmp_path, registry, content)
        job.run()
        assert read_tree(store.path(job.tree)) == content
        assert registry.requests == [f"GET /v2/m/blobs/sha256:{sha256_hex(DATA)}"]
        assert not store.incoming(job.tree).exists()


def test_the_second_source_serves_when_the_first_is_away(tmp_path: Path) -> None:
    with running(SmallRegistry()) as registry:
        registry.put_blob(DATA)
        job, store = download(tmp_path, registry, {"a": DATA})
        job.sources = [f"oci://{registry.authority}/gone@sha256:{'0' * 64}", *job.sources]
        registry.lies[f"GET /v2/gone/blobs/sha256:{sha256_hex(DATA)}"] = lambda handler: handler.reply(404)
        job.run()
        assert store.is_trusted(job.tree)


def test_a_line_that_brings_nothing_is_given_up(tmp_path: Path) -> None:
    with running(SmallRegistry()) as registry:
        digest = registry.put_blob(DATA)

        def nothing(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(DATA)))
            handler.end_headers()
            handler.close_connection = True

        registry.lies[f"GET /v2/m/blobs/{digest}"] = nothing
        job, _ = download(tmp_path, registry, {"a": DATA})
        with pytest.raises(AgentError, match="SourceUnavailable"):
            job.run()
        assert len(registry.requests) == 1
