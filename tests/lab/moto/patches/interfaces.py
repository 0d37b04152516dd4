"""Network interfaces: an instance and its first interface share the source/destination check and the security groups.

EC2 API reference, "ModifyInstanceAttribute" (SourceDestCheck, Groups), "ModifyNetworkInterfaceAttribute",
"InstanceNetworkInterface"; VPC User Guide, "NAT instances" ("Disable source/destination checks");
"DeleteNetworkInterface" ("you must detach it first").
"""

from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.models.security_groups import SecurityGroupBackend

from patches import errors


def install() -> None:
    """Keeps the check and the groups on the interface."""
    Instance.source_dest_check = property(_check_of_instance, _set_check_of_instance)
    NetworkInterface.group_set = property(lambda self: list(self._group_set))
    association = NetworkInterface.association.fget
    NetworkInterface.association = property(lambda self: association(self) if self.public_ip else None)
    InstanceBackend.modify_instance_security_groups = modify_instance_security_groups
    _modify_attribute()
    _create()
    _delete()


def _check_of_instance(self: Instance) -> bool:
    nics = getattr(self, "nics", {})
    return nics[0].source_dest_check if 0 in nics else True


def _set_check_of_instance(self: Instance, value: Any) -> None:
    # moto's constructor sets it before the interfaces exist, which start with the check enabled.
    for eni in getattr(self, "nics", {}).values():
        eni.source_dest_check = str(value).lower() == "true"


def _groups(backend: Any, ids: list[str]) -> list[Any]:
    groups = [SecurityGroupBackend.get_security_group_from_id(backend, group_id) for group_id in ids]
    for group_id, group in zip(ids, groups, strict=True):
        if group is None:
            raise errors.of("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
    return groups


def modify_instance_security_groups(self: Any, instance_id: str, new_group_id_list: list[str]) -> Instance:
    """Sets the groups of the instance and of its first interface."""
    instance = self.get_instance(instance_id)
    if not new_group_id_list:
        raise errors.of("InvalidParameterCombination", "No attributes specified.")
    instance.security_groups = _groups(self, new_group_id_list)
    if 0 in instance.nics:
        instance.nics[0]._group_set = list(instance.security_groups)
    return instance


def _modify_attribute() -> None:
    inner = NetworkInterfaceBackend.modify_network_interface_attribute

    def modify(self: Any, eni_id: str, group_ids: list[str], *rest: Any, **more: Any) -> None:
        groups = _groups(self, group_ids or [])
        inner(self, eni_id, group_ids or [], *rest, **more)
        eni = self.get_network_interface(eni_id)
        if groups and eni.instance and eni.device_index == 0:
            eni.instance.security_groups = groups

    NetworkInterfaceBackend.modify_network_interface_attribute = modify


def _create() -> None:
    inner = NetworkInterfaceBackend.create_network_interface

    def create(self: Any, subnet: Any, private_ip_address: Any, *rest: Any, **more: Any) -> NetworkInterface:
        # moto accepts addresses that are in use; an instance's address is reserved already.
        if not private_ip_address and not isinstance(subnet, str):
            private_ip_address = subnet.get_available_subnet_ip(instance=None)
        return inner(self, subnet, private_ip_address, *rest, **more)

    NetworkInterfaceBackend.create_network_interface = create


def _delete() -> None:
    inner = NetworkInterfaceBackend.delete_network_interface

    def delete(self: Any, eni_id: str) -> None:
        eni = self.get_network_interface(eni_id)
        # Instance.terminate deletes its interfaces before it sets its state.
        if eni.status == "in-use" and not (eni.instance and eni.delete_on_termination):
            raise errors.of("InvalidParameterValue", f"Network interface '{eni_id}' is currently in use.")
        inner(self, eni_id)

    NetworkInterfaceBackend.delete_network_interface = delete
