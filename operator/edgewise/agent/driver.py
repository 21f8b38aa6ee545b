"""The volume's life on the node: publish, publish again, unpublish. Knows nothing of gRPC."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.agent.asks import Ask, read_target
from edgewise.agent.ensure import Ensurer
from edgewise.agent.errors import AgentError, Code
from edgewise.agent.journal import Journal, Mount
from edgewise.agent.mounts import bind_read_only, is_mounted, unmount
from edgewise.agent.settings import Settings
from edgewise.agent.store import Store
from edgewise.agent.verdicts import Found, Verdicts
from edgewise.provenance.digests import parse_digest
from edgewise.provenance.errors import ProvenanceError

#: Calls for different targets run at the same time; these many locks keep calls for one target apart.
_STRIPES = 64


@dataclass(frozen=True, slots=True)
class Driver:
    """Mounts verified trees where the kubelet wants them."""

    settings: Settings
    journal: Journal
    store: Store
    ensurer: Ensurer
    verdicts: Verdicts
    _locks: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_STRIPES))
    )

    def publish(self, ask: Ask) -> None:
        """Mount the model that the pod asks for, if the verdict says that it may have it.

        Idempotent: for a volume that is there, it re-checks the kept verdict (a millisecond, no network) and
        leaves the mount alone. Past half of the verdict's life it looks for a younger one, so that a node
        that loses its network later has the longest possible time. A refusal never unmounts what runs.

        Raises:
            AgentError: with the code and text for the pod's event.
        """
        with self._lock(ask.target):
            mine = self._record(ask)
            mounted = is_mounted(ask.target)
            kept = self.verdicts.kept(ask.wanted, mine.verdict) if mine is not None and mounted else None
            if kept is not None and not kept.verdict.wants_renewal(self.verdicts.now()):
                return
            try:
                found = self.verdicts.find(ask.wanted, "" if mine is None else mine.verdict)
            except AgentError:
                if kept is None:
                    raise
                return  # what runs goes on; the verdict on disk merely gets no younger
            tree = found.verdict.digest.hex
            with self.store.pinned(tree):
                self.journal.keep_verdict(ask.wanted.namespace, ask.wanted.model, tree, found.envelope)
                self.ensurer.ensure(found.verdict, self.settings.publish_wait)
                self.journal.write_mount(_mount(ask, found))
                if not (mine is not None and mounted):
                    self._attach(self.store.path(tree), ask.target)
            self.store.touch(tree)

    def unpublish(self, target: str) -> None:
        """Undo a publish; what is gone already is fine.

        Raises:
            AgentError: the path is none of ours, or the kernel does not let go.
        """
        path = read_target(target, self.settings.kubelet)
        with self._lock(path):
            record = self.journal.mount(target)
            try:
                unmount(path)
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise AgentError(Code.INTERNAL, "UnmountFailed", f"{target}: {error.strerror}") from error
            self.journal.drop_mount(target)
            if record is not None:
                self.store.touch(parse_digest(record.digest).hex)

    def in_use(self) -> frozenset[str]:
        """Trees (hex) of every pod that still exists on this node; records of others are dropped."""
        trees = set()
        for mount in self.journal.mounts():
            if not (self.settings.kubelet / "pods" / mount.pod_uid).is_dir():
                self.journal.drop_mount(mount.target)
                continue
            try:
                trees.add(parse_digest(mount.digest).hex)
            except ProvenanceError:
                self.journal.drop_mount(mount.target)
        return frozenset(trees)

    def _record(self, ask: Ask) -> Mount | None:
        """What the journal says of this target, if it is about the same pod and the same model."""
        record = self.journal.mount(str(ask.target))
        if record is None:
            return None
        asked = (ask.pod_uid, ask.wanted.namespace, ask.wanted.model, ask.wanted.digest)
        same = (record.pod_uid, record.namespace, record.model, record.digest) == asked
        return record if same else None

    def _attach(self, source: Path, target: Path) -> None:
        try:
            unmount(target)  # of another digest, or of a journal that is lost
            target.mkdir(mode=0o750, parents=True, exist_ok=True)
            bind_read_only(source, target, self.settings.view)
        except OSError as error:
            raise AgentError(
                Code.INTERNAL, "MountFailed", f"{target}: {error.strerror or error}; is the agent privileged?"
            ) from error

    def _lock(self, target: Path) -> threading.Lock:
        return self._locks[hash(os.fspath(target)) % _STRIPES]


def _mount(ask: Ask, found: Found) -> Mount:
    wanted = ask.wanted
    return Mount(str(ask.target), ask.pod_uid, wanted.namespace, wanted.model, wanted.digest, found.sha256)
