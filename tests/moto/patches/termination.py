"""TerminateInstances: the instance stays visible for a while, its interface doesn't, and routes to that become
blackholes.

EC2 User Guide, "Terminate Amazon EC2 instances" ("it remains visible … for a short while"; interfaces with
DeleteOnTermination go) and "Network interfaces"; VPC User Guide, "Route table concepts" (blackhole); EC2 API
reference, "Instance" (which fields go).
"""

from typing import Any

from moto.ec2.models.instances import Instance, InstanceState

from patches import errors


def install() -> None:
    """Wraps Instance.terminate and lets a terminated instance be without an address."""
    inner = Instance.terminate
    start = Instance.start

    def terminate(self: Instance) -> Any:
        if self.state == "terminated":
            return InstanceState("terminated", 48)
        interfaces = list(self.nics.values())
        subnet = self.subnet_id and self.ec2_backend.get_subnet(self.subnet_id)
        previous = inner(self)
        for eni in interfaces:
            _release(self, eni, subnet)
        self.nics = {}
        self.security_groups = []
        self._subnet_id = None
        self.iam_instance_profile = None
        return previous

    def start_again(self: Instance) -> Any:
        if self.state == "terminated":
            raise errors.of(
                "IncorrectInstanceState", f"The instance '{self.id}' is not in a state from which it can be started."
            )
        return start(self)

    Instance.terminate = terminate
    Instance.start = start_again
    Instance.stop = _only_alive(Instance.stop, "stopped")
    Instance.reboot = _only_alive(Instance.reboot, "rebooted")
    Instance.private_ip = property(lambda self: self.nics[0].private_ip_address if 0 in self.nics else None)
    Instance.private_ip_address = Instance.private_ip
    Instance.public_ip = property(lambda self: self.nics[0].public_ip if 0 in self.nics else None)
    Instance.public_ip_address = Instance.public_ip
    dns = Instance.private_dns_name.fget
    Instance.private_dns_name = property(lambda self: dns(self) if self.nics else "")


def _only_alive(method: Any, done: str) -> Any:
    def checked(self: Instance) -> Any:
        if self.state in ("terminated", "shutting-down"):
            raise errors.of(
                "IncorrectInstanceState", f"The instance '{self.id}' is not in a state from which it can be {done}."
            )
        return method(self)

    return checked


def _release(instance: Instance, eni: Any, subnet: Any) -> None:
    """Takes an interface off its instance; one made with the instance is deleted and its address is free again."""
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
