"""The verification process: one length-prefixed JSON request on stdin, one answer on stdout, and again.

Framing: four bytes, big-endian, then so many bytes of UTF-8 JSON. It ends when stdin does. It fetches
nothing, reads no clock and writes no file; `sandbox` makes sure.
"""

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Final

from edgewise.provenance import sandbox
from edgewise.provenance.judge import judge
from edgewise.provenance.request import judgement_to_json, request_from_json
from edgewise.provenance.strictjson import JsonError, parse

#: A request with a few bundles of 16 MiB, in base64. Larger ones are a mistake or an attack.
MAX_REQUEST_BYTES: Final = 96 << 20
_LENGTH: Final = struct.Struct(">I")


def frame(value: object) -> bytes:
    """One message: length and JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


def body_length(prefix: bytes) -> int:
    """Bytes that follow a prefix of four."""
    (length,) = _LENGTH.unpack(prefix)
    return int(length)


def answer(body: bytes) -> dict[str, object]:
    """Judge one request; a request that cannot be read is answered, too: {"error": text}."""
    try:
        request = request_from_json(parse(body, max_bytes=MAX_REQUEST_BYTES))
    except JsonError as error:
        return {"error": f"the request cannot be read: {error}"}
    return judgement_to_json(judge(request))


def serve(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Answer requests until the input ends. `read(n)` gives up to n bytes, b"" at the end."""
    while prefix := _exactly(read, 4):
        length = body_length(prefix)
        if length > MAX_REQUEST_BYTES:
            write(frame({"error": f"a request of {length} bytes, at most {MAX_REQUEST_BYTES}"}))
            return
        write(frame(answer(_exactly(read, length))))


def main() -> int:
    """Entry of `python -m edgewise.provenance`."""
    sandbox.enter()
    output = sys.stdout.buffer

    def write(data: bytes) -> None:
        output.write(data)
        output.flush()

    serve(lambda size: os.read(sys.stdin.fileno(), min(size, 1 << 20)), write)
    return 0


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """`size` bytes, or fewer (b"" at a clean end) when the input ends early."""
    parts: list[bytes] = []
    missing = size
    while missing and (part := read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
