"""``python -m edgewise.engine``: the operator."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from edgewise.engine import lean
from edgewise.engine.settings import SettingsError, from_environment


async def _main() -> None:
    lean.leave_out_the_synchronous_client()
    from edgewise.engine.operator import Operator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Operator(from_environment()).run(stop)


def main() -> int:
    """Run the operator until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("kopf", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main())
    except SettingsError as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
