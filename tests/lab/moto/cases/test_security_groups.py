"""Security groups and network interfaces. Pages are named in patches/security_groups.py and interfaces.py."""

from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused


def _members(group: str) -> dict[str, Any]:
    return {"IpProtocol": "112", "UserIdGroupPairs": [{"GroupId": group}]}


def _port(port: int) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "10.50.0.0/16"}]}


def a_rule_for_a_protocol_without_ports_needs_none(server: Any) -> Iterator[None]:
    """IpPermission, IpProtocol: "if you specify … other …, traffic on all ports is allowed"; VRRP is 112."""
    s = Scene(server)
    group = s.group()
    yield
    s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_members(group)])
    rules = s.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert [r["IpProtocol"] for r in rules] == ["112"]
    assert rules[0]["UserIdGroupPairs"][0]["GroupId"] == group
    with refused("InvalidPermission.Duplicate"):
        s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_members(group)])
    world = next(g for g in server.world()["security_groups"] if g["id"] == group)
    assert world["ingress"] == [{"protocol": "112", "from": None, "to": None, "cidrs": [], "groups": [group]}]


def rules_are_added_all_or_none(server: Any) -> Iterator[None]:
    """AuthorizeSecurityGroupIngress: InvalidPermission.Duplicate, and nothing is added."""
    s = Scene(server)
    group = s.group()
    s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_port(80)])
    yield
    with refused("InvalidPermission.Duplicate"):
        s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_port(81), _port(80)])
    rules = s.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert [r["FromPort"] for r in rules] == [80]


def all_rules_added_are_answered(server: Any) -> Iterator[None]:
    """AuthorizeSecurityGroupIngress, SecurityGroupRules."""
    s = Scene(server)
    group = s.group()
    answer = s.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_port(80), _port(81)])
    yield
    assert [r["FromPort"] for r in answer["SecurityGroupRules"]] == [80, 81]


def a_group_in_use_is_not_deleted(server: Any) -> Iterator[None]:
    """DeleteSecurityGroup: DependencyViolation while an instance has it, or another group's rule names it."""
    s = Scene(server)
    group, other = s.group("one"), s.group("two")
    instance = s.run(SecurityGroupIds=[group])[0]
    s.ec2.authorize_security_group_ingress(
        GroupId=other, IpPermissions=[{**_port(80), "IpRanges": [], "UserIdGroupPairs": [{"GroupId": group}]}]
    )
    yield
    with refused("DependencyViolation"):
        s.ec2.delete_security_group(GroupId=group)
    s.end(instance)
    with refused("DependencyViolation"):
        s.ec2.delete_security_group(GroupId=group)
    s.ec2.delete_security_group(GroupId=other)
    s.ec2.delete_security_group(GroupId=group)
    with refused("InvalidGroup.NotFound"):
        s.ec2.describe_security_groups(GroupIds=[group])


def a_default_group_is_not_deleted(server: Any) -> Iterator[None]:
    """ "Delete a security group": not the default one."""
    s = Scene(server)
    groups = s.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [s.vpc]}])["SecurityGroups"]
    default = next(g["GroupId"] for g in groups if g["GroupName"] == "default")
    yield
    with refused("CannotDelete"):
        s.ec2.delete_security_group(GroupId=default)


def a_group_needs_an_existing_vpc(server: Any) -> Iterator[None]:
    """CreateSecurityGroup: InvalidVpcID.NotFound."""
    s = Scene(server)
    yield
    with refused("InvalidVpcID.NotFound"):
        s.ec2.create_security_group(GroupName="x", Description="x", VpcId="vpc-0123456789abcdef0")


def a_groups_name_isnt_an_id(server: Any) -> Iterator[None]:
    """CreateSecurityGroup, GroupName: "Cannot start with sg-"."""
    s = Scene(server)
    yield
    with refused("InvalidParameterValue", says="GroupName"):
        s.ec2.create_security_group(GroupName="sg-mine", Description="x", VpcId=s.vpc)


def the_source_dest_check_is_the_interfaces(server: Any) -> Iterator[None]:
    """ModifyInstanceAttribute and ModifyNetworkInterfaceAttribute, SourceDestCheck: one shared flag."""
    s = Scene(server)
    instance = s.run()[0]
    s.ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], SourceDestCheck={"Value": False})
    yield

    def seen() -> tuple[bool, bool, bool, bool]:
        of_instance = s.instance(instance["InstanceId"])
        of_interface = s.ec2.describe_network_interfaces(NetworkInterfaceIds=[s.interface(instance)])[
            "NetworkInterfaces"
        ][0]
        in_world = next(i for i in server.world()["interfaces"] if i["id"] == s.interface(instance))
        return (
            of_instance["SourceDestCheck"],
            of_instance["NetworkInterfaces"][0]["SourceDestCheck"],
            of_interface["SourceDestCheck"],
            in_world["source_dest_check"],
        )

    assert seen() == (False,) * 4
    s.ec2.modify_network_interface_attribute(NetworkInterfaceId=s.interface(instance), SourceDestCheck={"Value": True})
    assert seen() == (True,) * 4


def an_instances_groups_are_its_interfaces(server: Any) -> Iterator[None]:
    """ModifyInstanceAttribute, Groups: replaces them, on the interface."""
    s = Scene(server)
    one, two = s.group("one"), s.group("two")
    instance = s.run(SecurityGroupIds=[one])[0]
    s.ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], Groups=[two])
    yield
    seen = s.ec2.describe_network_interfaces(NetworkInterfaceIds=[s.interface(instance)])["NetworkInterfaces"][0]
    assert [g["GroupId"] for g in seen["Groups"]] == [two]


def an_instance_without_groups_has_the_default_one(server: Any) -> Iterator[None]:
    """RunInstances, SecurityGroupId: "If you don't specify a security group, the default security group is used"."""
    s = Scene(server)
    instance = s.run()[0]
    yield
    assert [g["GroupName"] for g in s.instance(instance["InstanceId"])["SecurityGroups"]] == ["default"]


def an_interface_in_use_is_not_deleted(server: Any) -> Iterator[None]:
    """DeleteNetworkInterface: "You must detach the network interface before you can delete it"."""
    s = Scene(server)
    interface = s.ec2.create_network_interface(SubnetId=s.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    instance = s.run()[0]["InstanceId"]
    s.ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=instance, DeviceIndex=1)
    yield
    with refused("InvalidParameterValue", says="in use"):
        s.ec2.delete_network_interface(NetworkInterfaceId=interface)


def an_interfaces_address_is_its_own(server: Any) -> Iterator[None]:
    """CreateNetworkInterface, PrivateIpAddress: "selected for you from the subnet's IPv4 CIDR range", a free one."""
    s = Scene(server)
    made = [s.ec2.create_network_interface(SubnetId=s.subnet)["NetworkInterface"]["PrivateIpAddress"] for _ in range(3)]
    launched = [s.run()[0]["PrivateIpAddress"] for _ in range(3)]
    yield
    assert sorted(made + launched) == sorted({f"10.50.1.{n}" for n in range(4, 10)})


def a_group_needs_a_vpc_where_there_is_no_default(server: Any) -> Iterator[None]:
    """CreateSecurityGroup, VpcId: "Required for a nondefault VPC"."""
    s = Scene(server)
    yield
    with refused("VPCIdNotSpecified"):
        s.ec2.create_security_group(GroupName=s.name, Description="x")
