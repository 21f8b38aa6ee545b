"""Finding the verdict for a pod: from the EdgeModel's status, else the one kept on this node's disk.

Where it comes from does not matter, because it is signed: what counts is that this cluster's operator signed
it, for this namespace, model and digest, and that it has not ended.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edgewise.agent.apiserver import ApiServer, ApiUnavailableError, ModelStatus
from edgewise.agent.errors import AgentError, Code
from edgewise.agent.journal import Journal
from edgewise.agent.keyring import KEYS_MISSING, KeyRing
from edgewise.provenance import reasons
from edgewise.provenance.digests import parse_digest, sha256_hex
from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.keys import VerdictKeys
from edgewise.provenance.verdict import Expectation, Verdict, demand, read_verdict


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict that holds for a pod, and its envelope."""

    verdict: Verdict
    envelope: str

    @property
    def sha256(self) -> str:
        """The name under which the journal remembers it."""
        return sha256_hex(self.envelope.encode())


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Finds verdicts.

    Attributes:
        now: gives an aware time.
    """

    api: ApiServer
    journal: Journal
    keys: KeyRing
    now: Callable[[], datetime]

    def find(self, wanted: Expectation, running: str = "") -> Found:
        """The verdict for a pod that asks.

        Args:
            wanted: what the kubelet says of the pod, and the pod of what it wants.
            running: sha256 of the verdict under which this very pod had this volume before (""): that one
                may have ended.

        Raises:
            AgentError: FAILED_PRECONDITION with the reason of the denial; UNAVAILABLE when nobody could be
                asked and nothing is kept.
        """
        try:
            return self._find(wanted, running, self.keys.current())
        except AgentError as error:
            if error.reason not in {reasons.VERDICT_UNTRUSTED, KEYS_MISSING}:
                raise
            younger = self.keys.refresh()
            if younger is None:
                raise
        return self._find(wanted, running, younger)

    def _find(self, wanted: Expectation, running: str, keys: VerdictKeys) -> Found:
        away = ""
        status: ModelStatus | None = None
        try:
            status = self.api.model(wanted.namespace, wanted.model)
        except ApiUnavailableError as error:
            away = str(error)
        refusals: list[ProvenanceError] = []
        for envelope in status.envelopes if status is not None else ():
            try:
                return self._checked(envelope, wanted, keys, status, running)
            except ProvenanceError as error:
                refusals.append(error)
        if status is not None and status.refuses(wanted.digest):
            why = status.refusal or f"{wanted.digest} is not verified; see its status"
            raise _denied(reasons.VERDICT_MISSING, f"EdgeModel {wanted.model}: {why}")
        kept = self.journal.verdict(wanted.namespace, wanted.model, parse_digest(wanted.digest).hex)
        if kept is not None:
            try:
                return self._checked(kept, wanted, keys, status, running)
            except ProvenanceError as error:
                refusals.append(error)
        raise _none_holds(wanted, refusals, away, status)

    def kept(self, wanted: Expectation, sha256: str) -> Found | None:
        """The verdict on disk with this hash, if it still holds for a pod that runs under it. No network."""
        envelope = self.journal.verdict(wanted.namespace, wanted.model, parse_digest(wanted.digest).hex)
        if envelope is None or sha256_hex(envelope.encode()) != sha256:
            return None
        try:
            return self._checked(envelope, wanted, self.keys.current(), None, sha256)
        except (ProvenanceError, AgentError):
            return None

    def _checked(
        self, envelope: str, wanted: Expectation, keys: VerdictKeys, status: ModelStatus | None, running: str
    ) -> Found:
        found_running = bool(running) and sha256_hex(envelope.encode()) == running
        verdict = read_verdict(envelope, keys, self.now(), running=found_running)
        demand(verdict, wanted)
        if status is not None and verdict.model_uid != status.uid:
            raise ProvenanceError(
                reasons.VERDICT_MISMATCH,
                f"the verdict is for an EdgeModel {wanted.model} that was deleted since",
            )
        return Found(verdict, envelope)


def _none_holds(
    wanted: Expectation, refusals: list[ProvenanceError], away: str, status: ModelStatus | None
) -> AgentError:
    # A refusal other than "that one is about another digest" tells more.
    telling = [error for error in refusals if error.reason != reasons.VERDICT_MISMATCH] or refusals
    if telling:
        more = f" ({away})" if away else ""
        return _denied(telling[0].reason, f"{wanted.digest}: {telling[0].message}{more}")
    if away:
        return AgentError(
            Code.UNAVAILABLE,
            reasons.VERDICT_MISSING,
            f"{away}, and no verdict for {wanted.digest} is kept here",
        )
    if status is None:
        return _denied(
            reasons.VERDICT_MISSING, f"no EdgeModel {wanted.model} in namespace {wanted.namespace}"
        )
    return _denied(
        reasons.VERDICT_MISSING,
        f"EdgeModel {wanted.model} has no verdict for {wanted.digest} yet; see its condition Verified",
    )


def _denied(reason: str, message: str) -> AgentError:
    return AgentError(Code.FAILED_PRECONDITION, reason, message)
