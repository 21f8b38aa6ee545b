"""The agent as a whole: builds its parts, serves, and ends in order."""

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer

from edgewise.agent import metrics, service
from edgewise.agent.apiserver import ApiServer
from edgewise.agent.driver import Driver
from edgewise.agent.ensure import Ensurer
from edgewise.agent.journal import Journal
from edgewise.agent.keyring import KeyRing
from edgewise.agent.settings import DRIVER, Settings
from edgewise.agent.store import Store, boot_id
from edgewise.agent.verdicts import Verdicts
from edgewise.provenance.oci import Registry
from edgewise.provenance.transport import Transport

_log = logging.getLogger(__name__)


def build_driver(settings: Settings, counts: metrics.Metrics, boot: str) -> Driver:
    """Put the driver's parts together. `boot` identifies the running boot of the machine."""
    journal = Journal(settings.journal)
    store = Store(settings.store, boot, settings.quota)
    registry = Registry(Transport(settings.plain_http))
    ensurer = Ensurer(store, registry, counts, lambda: driver.in_use())
    api = ApiServer(settings.api_url, settings.credentials)
    keys = KeyRing(api, journal, settings.keys, settings.namespace)
    verdicts = Verdicts(api, journal, keys, lambda: datetime.now(UTC))
    driver = Driver(settings, journal, store, ensurer, verdicts)
    return driver


@dataclass(slots=True)
class Agent:
    """A running agent."""

    settings: Settings
    driver: Driver
    endpoints: tuple[service.Endpoint, ...]
    pages: ThreadingHTTPServer

    @classmethod
    def start(cls, settings: Settings) -> "Agent":
        """Serve the driver, then make it known to the kubelet."""
        # Anything that we create is for root; models get their modes when they are sealed.
        os.umask(0o077)
        for folder in (settings.store, settings.journal):
            folder.mkdir(parents=True, exist_ok=True)
        counts = metrics.Metrics()
        driver = build_driver(settings, counts, boot_id())
        counts.watch("edgewise_agent_store_bytes", "Bytes of sealed models.", driver.store.used)
        counts.watch("edgewise_agent_jobs_active", "Downloads and checks under way.", driver.ensurer.active)
        node = service.NodeService(driver, counts)
        csi = service.start(
            settings.csi_socket, {"csi.v1.Identity": node.identity(), "csi.v1.Node": node.node()}
        )
        known = service.RegistrationService(settings.csi_socket, counts)
        registration = service.start(
            settings.registration_socket, {"pluginregistration.Registration": known.methods()}
        )
        pages = metrics.serve(counts, settings.csi_socket.is_socket, settings.port)
        _log.info("%s serves node %s at %s", DRIVER, settings.node, settings.csi_socket)
        return cls(settings, driver, (registration, csi), pages)

    def stop(self) -> None:
        """End in order. Mounts stay, downloads go on where they stopped when the next agent comes."""
        self.driver.ensurer.stop.set()
        for endpoint in self.endpoints:
            endpoint.stop()
        self.pages.shutdown()
        self.pages.server_close()
