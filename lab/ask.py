"""One request, as a program in a node's network: ``ask.py URL HOST BODY_FILE ANSWER_FILE NAME:VALUE...``.

Writes the answer's body into a file and its headers as JSON to standard output. Standard library only.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path


def main(url: str, host: str, body: str, answer: str, *headers: str) -> None:
    """Ask once.

    Raises:
        urllib.error.HTTPError: the answer's status is not 2xx.
    """
    named = dict(header.split(":", 1) for header in headers)
    request = urllib.request.Request(  # noqa: S310 - the lab's own http address
        url, data=Path(body).read_bytes(), headers={"Host": host, **named}
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        Path(answer).write_bytes(response.read())
        json.dump({name.lower(): value for name, value in response.headers.items()}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
