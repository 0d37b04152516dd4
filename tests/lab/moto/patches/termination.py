"""TerminateInstances: an instance shuts down for a while, then loses its interface and stays visible. StopInstances: an
instance is `stopping` until its system has shut down.

EC2 User Guide, "Instance state changes" (shutting-down, then terminated), "Terminate Amazon EC2 instances" ("it
remains visible … for a short while"; interfaces with DeleteOnTermination go); VPC User Guide, "Route table concepts"
(blackhole); EC2 API reference, "Instance" (which fields are removed). On AWS shutting down takes half a minute, here a
fifth of a second: a caller that doesn't wait gets a DependencyViolation on both.
"""

import math
import time
from typing import Any

from moto.ec2.models.instances import Instance, InstanceState

import instrument
from patches import errors

_ENDING = ("shutting-down", "terminated")

_takes = 0.2
_shutting_down: list[tuple[float, Instance]] = []
_stopping: list[tuple[float, Instance]] = []
_by_word = False
_moto_terminate = Instance.terminate
_moto_stop = Instance.stop


def set_duration(milliseconds: int) -> None:
    """Sets how long instances shut down."""
    global _takes
    _takes = milliseconds / 1000


def wait_for_word() -> None:
    """From now on, an instance is `stopping` until `stopped` reports it."""
    global _by_word
    _by_word = True


def stopped(instance_id: str) -> None:
    """The instance's system has shut down."""
    for entry in [entry for entry in _stopping if entry[1].id == instance_id]:
        _halt(entry)


def _halt(entry: tuple[float, Instance]) -> None:
    _stopping.remove(entry)
    if entry[1].state == "stopping":
        entry[1]._state = InstanceState("stopped", 80)
        instrument.changed()


def settle() -> None:
    """Ends instances that have shut down. Called before every call."""
    for entry in [entry for entry in _stopping if entry[0] <= time.monotonic()]:
        _halt(entry)
    due = [instance for until, instance in _shutting_down if until <= time.monotonic()]
    if due:
        _shutting_down[:] = [entry for entry in _shutting_down if entry[1] not in due]
        for instance in due:
            _end(instance)
        instrument.changed()


def install() -> None:
    """Replaces Instance.terminate and lets a terminated instance have no address."""
    start = Instance.start

    def start_again(self: Instance) -> Any:
        if self.state in (*_ENDING, "stopping"):
            raise _not_possible(self, "started")
        return start(self)

    Instance.terminate = terminate
    Instance.start = start_again
    Instance.stop = _only_alive(stop, "stopped")
    Instance.reboot = _only_alive(Instance.reboot, "rebooted")
    Instance.private_ip = property(lambda self: self.nics[0].private_ip_address if 0 in self.nics else None)
    Instance.private_ip_address = Instance.private_ip
    Instance.public_ip = property(lambda self: self.nics[0].public_ip if 0 in self.nics else None)
    Instance.public_ip_address = Instance.public_ip
    dns = Instance.private_dns_name.fget
    Instance.private_dns_name = property(lambda self: dns(self) if self.nics else "")


def stop(self: Instance) -> InstanceState:
    """Begins to stop the instance; idempotent. Returns the previous state."""
    previous = InstanceState(self.state, self.state_code)
    if self.state not in ("stopping", "stopped"):
        _moto_stop(self)
        self._state = InstanceState("stopping", 64)
        _stopping.append((math.inf if _by_word else time.monotonic() + _takes, self))
    return previous


def terminate(self: Instance) -> InstanceState:
    """Begins to terminate the instance; idempotent. Returns the previous state."""
    previous = InstanceState(self.state, self.state_code)
    if self.state not in _ENDING:
        self._state = InstanceState("shutting-down", 32)
        _shutting_down.append((time.monotonic() + _takes, self))
    return previous


def _end(instance: Instance) -> None:
    interfaces = list(instance.nics.values())
    subnet = instance.subnet_id and instance.ec2_backend.get_subnet(instance.subnet_id)
    _moto_terminate(instance)
    for eni in interfaces:
        _release(instance, eni, subnet)
    instance.nics = {}
    instance.security_groups = []
    instance._subnet_id = None
    instance.iam_instance_profile = None


def _release(instance: Instance, eni: Any, subnet: Any) -> None:
    """Detaches an interface. Deletes one that was created with the instance and frees its address."""
    backend = instance.ec2_backend
    if eni.delete_on_termination:
        backend.enis.pop(eni.id, None)
        backend.tags.pop(eni.id, None)
        if subnet:
            subnet.del_subnet_ip(eni.private_ip_address)
    eni.instance = None
    eni.attachment_id = None
    eni.attach_time = None
    eni.status = "available"


def _only_alive(method: Any, done: str) -> Any:
    def checked(self: Instance) -> Any:
        if self.state in _ENDING:
            raise _not_possible(self, done)
        return method(self)

    return checked


def _not_possible(instance: Instance, done: str) -> Exception:
    message = f"The instance '{instance.id}' is not in a state from which it can be {done}."
    return errors.of("IncorrectInstanceState", message)
