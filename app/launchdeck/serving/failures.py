"""The failures that the supervision itself finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from launchdeck.domain.deployment import Deployment


def supervisor_lost() -> Failure:
    return Failure(
        Cause.SUPERVISOR_LOST,
        Message("The process that supervised this model was killed, and the model with it."),
        Message("Start the model again."),
    )


def not_begun(model_id: str) -> Failure:
    return Failure(
        Cause.SUPERVISOR_LOST,
        Message("{name} was not started, because Launchdeck ended before it came to that.", name=model_id),
        Message("Start the model again."),
    )


def ended_by_force() -> Message:
    """A clause: how a model ended whose shim had to be killed."""
    return Message("stopped by force: the process that supervised it did not answer")


def cannot_be_ended(model_id: str, left: Iterable[tuple[int, int]]) -> Failure:
    """`left`: the processes (pid, start time) that are still there after they were killed."""
    return Failure(
        Cause.SUPERVISOR_LOST,
        Message(
            "{name} was killed, and is still there: processes {pids} hang in the kernel.",
            name=model_id,
            pids=", ".join(str(pid) for pid, _ in left),
        ),
        Message(
            "They end as soon as the disk or the driver that they wait for answers. If it never does, restart the "
            "computer."
        ),
    )


def machine_restarted() -> Failure:
    return Failure(
        Cause.SUPERVISOR_LOST,
        Message("The computer was restarted while this model was running."),
        Message("Start the model again."),
    )


def gpus_lost(deployment: Deployment, ended: Failure) -> Failure:
    """`ended`: how the engine that used them went down. One that has left our list is called by its name."""
    places = deployment.lost_places
    if places is None:
        names = ", ".join(gpu.name or gpu.uuid for gpu in deployment.lost)
        message = Message("{names} was lost while the model ran on it.", names=names)
    else:
        message = Message("GPU {indices} was lost while the model ran on it.", indices=", ".join(map(str, places)))
    return Failure(
        Cause.GPU_LOST,
        message,
        Message("The kernel's log may say why. Restarting the computer usually brings a GPU back."),
        evidence=(str(ended.message), *ended.evidence),
    )


def port_taken(port: int, holder: tuple[int, str] | None = None, free_port: int | None = None) -> Failure:
    """`holder`: the pid and name of the program that has it, where that is known; `free_port`: one to use instead."""
    message = Message("Another program took port {port} before the model could use it.", port=port)
    if holder is not None:
        pid, name = holder
        message = Message(
            "{name} (process {pid}) took port {port} before the model could use it.", name=name, pid=pid, port=port
        )
    fixes = () if free_port is None else (Fix(Message("Use port {port}", port=free_port), ()),)  # every launch takes it
    return Failure(Cause.PORT_TAKEN, message, Message("Start the model again."), fixes=fixes)


def stalled(silent_s: float) -> Failure:
    return Failure(
        Cause.STALLED,
        Message("Loading stalled: the engine said nothing and did nothing for {seconds} s.", seconds=round(silent_s)),
        Message("Look at the end of the log. If the disk is slow, allow more time in the settings."),
    )


def took_too_long(limit_s: float) -> Failure:
    return Failure(
        Cause.STALLED,
        Message("Loading took longer than {seconds} s.", seconds=round(limit_s)),
        Message("Look at the end of the log, or allow more time in the settings."),
    )


def unexpected(error: Exception) -> Failure:
    return Failure(
        Cause.CRASHED,
        Message("Launchdeck made a mistake while supervising this model: {error}", error=repr(error)),
        Message("The log of Launchdeck has the details. Start the model again."),
    )


def not_found(deployment_id: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NOT_FOUND, Message("There is no deployment {id}.", id=deployment_id), Message("Look at the list.")
    )


def shim_silent(model_id: str) -> Message:
    return Message(
        "The process that supervises {name} does not answer. Stopping the model ends both by force.", name=model_id
    )


def newer_record(path: Path) -> Message:
    return Message(
        "A newer version of Launchdeck wrote {path}; the model that it speaks of is left alone. "
        "Start that version to see it and to stop it.",
        path=path,
    )


def not_adopted(model_id: str, error: Exception) -> Message:
    return Message(
        "{name}, of an earlier run, could not be taken over: {error}. 'launchdeck status' shows how it stands.",
        name=model_id,
        error=repr(error),
    )


def broken_record(path: Path, reason: str, kept: Path) -> Message:
    return Message(
        "The record {path} of a model cannot be read ({reason}); it is kept as {kept}.",
        path=path,
        reason=reason,
        kept=kept.name,
    )


def unreadable_record(path: Path, error: OSError) -> Message:
    return Message(
        "{path} cannot be read ({reason}): a model that it speaks of is not shown until it can.",
        path=path,
        reason=error.strerror or str(error),
    )


def record_stays(folder: Path, error: OSError) -> Message:
    return Message(
        "{folder} could not be removed ({reason}): the model that ended will be listed again.",
        folder=folder,
        reason=error.strerror or str(error),
    )


def newer_shim(model_id: str) -> Failure:
    return Failure(
        Cause.CONFLICT,
        Message("A newer version of Launchdeck started {name}; it is left alone.", name=model_id),
        Message("Start that version to see it and to stop it."),
    )


def still_runs(deployment_id: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.CONFLICT, Message("The deployment {id} still runs.", id=deployment_id), Message("Stop it first.")
    )


def name_in_use(model_id: str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.CONFLICT,
        Message("A model named {name} is deployed already.", name=model_id),
        Message("Choose another name, or stop that model first."),
    )


def linux_only() -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.START_FAILED,
        Message("Models can only be started on Linux so far."),
        Message("Run Launchdeck on a Linux machine."),
    )
