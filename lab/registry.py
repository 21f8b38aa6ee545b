"""The lab's registries, reached by host and nodes at the lab's address with plain http.

`distribution` is Debian's docker-registry (CNCF distribution 2.8): what most people run, without the
referrers API. `referrers` has that API and keeps its manifests in memory.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path

from lab.errors import LabError, NotReadyError
from lab.oci import CONFIG, MANIFEST, Image
from lab.process import Registry as Processes
from lab.process import spawn, stop, tail
from lab.settings import REFERRERS_PORT, REGISTRY_PORT, Layout


class Registry:
    """One registry of the lab."""

    def __init__(self, layout: Layout, name: str, port: int, program: Callable[[], Path]) -> None:
        """Describe one; nothing happens yet.

        Args:
            layout: the lab's.
            name: `distribution` or `referrers`.
            port: at the lab's address.
            program: finds (or builds) the program, when it is started.
        """
        self._layout = layout
        self._name = name
        self._port = port
        self._program = program
        self._processes = Processes(layout.processes)
        self._folder = layout.home / "registry" / name

    @property
    def host(self) -> str:
        """Host and port, as references of images and models begin."""
        return f"{self._layout.addresses.host}:{self._port}"

    def is_running(self) -> bool:
        """Whether it was started and still runs."""
        return self._processes.get(self._key) is not None

    def start(self, within: float = 20.0) -> None:
        """Start it, over what it stored before, and wait until it answers; nothing happens when it runs.

        Raises:
            NotReadyError: it does not answer in `within` seconds; the text has the end of its log.
        """
        if self.is_running():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._layout.logs / f"{self._key}.log"
        self._processes.record(self._key, spawn(self._command(), home=self._layout.home, log=log))
        deadline = time.monotonic() + within
        while not self._answers():
            if not self.is_running() or time.monotonic() > deadline:
                raise NotReadyError(
                    f"the registry at {self.host} does not answer; the end of {log}:\n{tail(log)}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; what it stored stays, as far as it keeps it on disk."""
        found = self._processes.get(self._key)
        if found is not None:
            stop(found, grace=0)
        self._processes.forget(self._key)

    def blob_path(self, digest: str) -> Path:
        """The file that holds the blob `digest` (`sha256:...`); what is written into it is what gets served.

        Raises:
            LabError: the registry has no such blob.
        """
        kind, _, value = digest.partition(":")
        if self._name == "distribution":
            folder = self._folder / "docker/registry/v2/blobs"
            path = folder / kind / value[:2] / value / "data"
        else:
            path = self._folder / kind / value
        if not path.exists():
            raise LabError(f"the registry at {self.host} has no blob {digest} (looked at {path})")
        return path

    def push(self, image: Image) -> str:
        """Push an image, as far as it is not there, and return its reference by digest."""
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            manifest = image.blob(image.digest).read_bytes()
            path = f"/v2/{image.repository}/manifests/{image.tag}"
            if (
                _exchange(connection, "HEAD", path, accept=MANIFEST)[1].get("docker-content-digest")
                != image.digest
            ):
                for digest in image.content():
                    self._push_blob(connection, image, digest)
                status, _, text = _exchange(connection, "PUT", path, manifest, MANIFEST)
                if status != 201:
                    raise LabError(
                        f"the registry at {self.host} refused the manifest of {image.name}: {text}"
                    )
        finally:
            connection.close()
        return f"{self.host}/{image.repository}@{image.digest}"

    def _push_blob(self, connection: http.client.HTTPConnection, image: Image, digest: str) -> None:
        repository = f"/v2/{image.repository}/blobs"
        if _exchange(connection, "HEAD", f"{repository}/{digest}")[0] == 200:
            return
        # The blob may be there for another image: then the registry only links it.
        where = f"{repository}/uploads/?mount={digest}&from=edgewise-lab/base"
        status, headers, text = _exchange(connection, "POST", where)
        if status == 201:
            return
        if status != 202:
            raise LabError(f"the registry at {self.host} takes no upload: {status} {text}")
        target = headers["location"]
        target += ("&" if "?" in target else "?") + f"digest={digest}"
        blob = image.blob(digest)
        with blob.open("rb") as content:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.stat().st_size)}
            path = target.removeprefix(f"http://{self.host}")
            connection.request("PUT", path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        if answer.status != 201:
            raise LabError(f"the registry at {self.host} refused blob {digest}: {answer.status} {text}")

    @property
    def _key(self) -> str:
        return f"registry-{self._name}"

    def _command(self) -> list[str]:
        program = str(self._program())
        if self._name == "referrers":
            return [program, self.host, str(self._folder)]
        config = self._folder.with_suffix(".yml")
        # JSON is YAML. No cache of blob descriptors: tests change bytes behind the registry's back.
        config.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "warn", "accesslog": {"disabled": True}},
                    "storage": {
                        "filesystem": {"rootdirectory": str(self._folder)},
                        "delete": {"enabled": True},
                    },
                    "http": {"addr": self.host},
                }
            )
        )
        return [program, "serve", str(config)]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.host, timeout=2)
        try:
            return _exchange(connection, "GET", "/v2/")[0] == 200
        except OSError:
            return False
        finally:
            connection.close()


def distribution(layout: Layout, program: Callable[[], Path]) -> Registry:
    """The registry at port 5000."""
    return Registry(layout, "distribution", REGISTRY_PORT, program)


def referrers(layout: Layout, program: Callable[[], Path]) -> Registry:
    """The registry at port 5001."""
    return Registry(layout, "referrers", REFERRERS_PORT, program)


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    media: str = "",
    accept: str = f"{MANIFEST}, {CONFIG}, */*",
) -> tuple[int, dict[str, str], str]:
    headers = {"Accept": accept, **({"Content-Type": media} if media else {})}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text
