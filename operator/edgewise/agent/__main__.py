"""`python -m edgewise.agent`: the node agent."""

import logging
import os
import signal
import sys
import threading

from edgewise.agent.agent import Agent
from edgewise.agent.settings import settings_from


def main() -> int:
    """Serve until SIGTERM or SIGINT. 2 when the settings are wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = settings_from(os.environ)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    agent = Agent.start(settings)
    ended.wait()
    agent.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
