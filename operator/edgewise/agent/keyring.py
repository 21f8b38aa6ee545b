"""The verdict keys that this node trusts: as mounted, as kept on its disk, or as the API server has them now.

All three are one ConfigMap at different ages. The kubelet brings a change to the mounted file within a minute
or so; a node that meets a verdict by a key that it does not know yet asks the API server instead of letting a
pod wait for that.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgewise.agent.apiserver import ApiServer, ApiUnavailableError
from edgewise.agent.errors import AgentError, Code
from edgewise.agent.files import read_if_there
from edgewise.agent.journal import Journal
from edgewise.provenance.keys import MAX_DOCUMENT_BYTES, VerdictKeys, read_document
from edgewise.provenance.strictjson import JsonError

#: Reason word: there is no document of keys anywhere.
KEYS_MISSING = "KeysMissing"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Finds the keys.

    Attributes:
        path: the mounted document.
        namespace: of the operator, where the ConfigMap is; "" when the API server is not to be asked.
    """

    api: ApiServer
    journal: Journal
    path: Path
    namespace: str

    def current(self) -> VerdictKeys:
        """The keys as mounted or kept, whichever is younger; what is mounted is kept for a reboot.

        Raises:
            AgentError: KeysMissing, when there is neither.
        """
        mounted_text, kept_text = read_if_there(self.path, MAX_DOCUMENT_BYTES), self.journal.keys()
        mounted, problem = _read(mounted_text)
        kept, _ = _read(kept_text)
        if mounted is not None and mounted_text is not None:
            if kept is not None and kept.cluster == mounted.cluster and _age(kept) > _age(mounted):
                return kept
            self.journal.keep_keys(mounted_text)
            return mounted
        if kept is not None:
            return kept
        raise AgentError(
            Code.UNAVAILABLE,
            KEYS_MISSING,
            f"the cluster's verdict keys ({self.path}): {problem}; the operator writes them at start",
        )

    def refresh(self) -> VerdictKeys | None:
        """The keys as the API server has them, kept from now on; None when there is nothing to be had."""
        if not self.namespace:
            return None
        try:
            text = self.api.verdict_keys(self.namespace)
        except ApiUnavailableError:
            return None
        document, _ = _read(text)
        if document is not None and text is not None:
            self.journal.keep_keys(text)
        return document


def _read(text: bytes | None) -> tuple[VerdictKeys | None, str]:
    if text is None:
        return None, "not there"
    try:
        return read_document(text), ""
    except JsonError as error:
        return None, str(error)


def _age(document: VerdictKeys) -> datetime:
    """Every rotation adds a key, so the youngest key dates the document."""
    return max(entry.not_before for entry in document.keys)
