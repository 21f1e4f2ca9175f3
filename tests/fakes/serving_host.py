"""An application to be killed: it adopts what runs, deploys the fake models that are missing, says so, and waits.

Arguments: how many models, the policy (keep or stop), and the switches of the fake server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from PySide6.QtCore import QCoreApplication

from fakes.serving import Bench
from launchdeck.domain.deployment import State
from launchdeck.serving.process import QtShimLauncher


async def main(count: int, policy: str, switches: list[str]) -> None:
    launcher = QtShimLauncher()
    bench = Bench(*switches, launcher=launcher, when_app_dies=policy, last_port=65535)
    began_s = time.monotonic()
    await bench.manager.adopt()
    adoption_s = time.monotonic() - began_s
    for number in range(len(bench.manager.deployments), count):
        deployment = await bench.running(model_id=f"demo-{number}")
        assert deployment.state is State.RUNNING
    models = [(d.id, d.plan.port, d.pids, bench.manager.api_key(d.id)) for d in bench.manager.deployments]
    sys.stdout.write(json.dumps({"models": models, "adoption_s": adoption_s}) + "\n")
    sys.stdout.flush()
    await asyncio.sleep(600)


if __name__ == "__main__":
    application = QCoreApplication([])
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
