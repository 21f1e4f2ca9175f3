"""A plan turned into what a shim has to know; the only place where a key meets an environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from launchdeck.domain.units import MIB
from launchdeck.engines.devices.masking import names_to_unset
from launchdeck.serving.records.codec import to_json
from launchdeck.serving.shim.record import SOCKET_SUFFIX
from launchdeck.settings.qt_binding import others_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.domain.deployment import Deployment
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

SECRET_NAME_ENDINGS: Final = ("_TOKEN", "_API_KEY", "_SECRET", "_PASSWORD")


def build_spec(
    deployment: Deployment,
    *,
    api_key: str | None,
    paths: Paths,
    settings: Settings,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """The specification of shim/main.py. `environ` is what the engine inherits.

    With a key it stands in every variable of `plan.secret_env`; without one those are taken out, inherited ones as
    well: the engine would ask for a key that nobody here knows.
    """
    plan = deployment.plan
    env = others_choice() | {name: value for name, value in plan.env if name not in plan.secret_env}
    unset = list(names_to_unset(environ, plan.env_unset))
    if api_key is None:
        unset += plan.secret_env
    else:
        env |= dict.fromkeys(plan.secret_env, api_key)
    inherited = [value for name, value in environ.items() if name.upper().endswith(SECRET_NAME_ENDINGS)]
    return {
        "id": deployment.id,
        "created_at_s": deployment.created_at_s,
        "socket": str(paths.sockets / (deployment.id + SOCKET_SUFFIX)),
        "folder": str(paths.records / deployment.id),
        "argv": list(plan.argv),
        "env": env,
        "env_unset": unset,
        "redact": [*inherited, *([] if api_key is None else [api_key])],
        "secrets": {} if api_key is None else {"api_key": api_key},
        "when_app_dies": settings.when_app_dies,
        "stop_grace_s": settings.stop_grace_s,
        "launched_by": os.getpid(),
        "log_limit_bytes": settings.log_limit_mib * MIB,
        "plan": to_json(plan),
    }
