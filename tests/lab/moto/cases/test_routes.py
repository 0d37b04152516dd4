"""CreateRoute, ReplaceRoute, DeleteRoute and the states of routes. Pages are named in patches/routes.py."""

from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused


def a_route_to_an_interface_is_not_created_twice(server: Any) -> Iterator[None]:
    """CreateRoute: RouteAlreadyExists."""
    s = Scene(server)
    first, second = s.run()[0], s.run()[0]
    s.ec2.create_route(**s.route_to(s.interface(first)))
    yield
    with refused("RouteAlreadyExists", says="10.255.0.10/32"):
        s.ec2.create_route(**s.route_to(s.interface(second)))
    assert s.routes()["10.255.0.10/32"]["NetworkInterfaceId"] == s.interface(first)


def a_full_table_takes_no_route(server: Any) -> Iterator[None]:
    """CreateRoute: RouteLimitExceeded; ReplaceRoute needs no room."""
    s = Scene(server)
    interface = s.interface(s.run()[0])
    for n in range(500 - len(s.routes())):
        s.ec2.create_route(**s.route_to(interface, f"172.{16 + n // 256}.{n % 256}.0/24"))
    yield
    with refused("RouteLimitExceeded"):
        s.ec2.create_route(**s.route_to(interface))
    s.ec2.replace_route(**s.route_to(interface, "172.16.0.0/24"))


def a_route_inside_the_vpc_is_refused(server: Any) -> Iterator[None]:
    """VPC User Guide, "Example routing options": more specific than local is for whole subnets only."""
    s = Scene(server)
    interface = s.interface(s.run()[0])
    yield
    with refused("InvalidParameterValue"):
        s.ec2.create_route(**s.route_to(interface, "10.50.9.9/32"))


def a_destination_that_isnt_a_cidr_block_is_refused(server: Any) -> Iterator[None]:
    """CreateRoute: InvalidParameterValue."""
    s = Scene(server)
    interface = s.interface(s.run()[0])
    yield
    with refused("InvalidParameterValue", says="10.255.0.10/33"):
        s.ec2.create_route(**s.route_to(interface, "10.255.0.10/33"))


def a_destination_is_kept_in_canonical_form(server: Any) -> Iterator[None]:
    """CreateRoute, DestinationCidrBlock: "we modify it to its canonical form"."""
    s = Scene(server)
    s.ec2.create_route(**s.route_to(s.interface(s.run()[0]), "100.68.0.18/18"))
    yield
    assert "100.68.0.0/18" in s.routes()


def a_gateways_table_cannot_hold_a_route_outside_the_vpc(server: Any) -> Iterator[None]:
    """VPC User Guide, "Gateway route tables"."""
    s = Scene(server)
    interface = s.interface(s.run()[0])
    gateway = s.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    s.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=s.vpc)
    s.ec2.associate_route_table(RouteTableId=s.table, GatewayId=gateway)
    yield
    with refused("InvalidParameterValue", says=gateway):
        s.ec2.create_route(**s.route_to(interface))


def a_table_with_such_a_route_is_not_associated_with_a_gateway(server: Any) -> Iterator[None]:
    """VPC User Guide, "Gateway route tables"."""
    s = Scene(server)
    s.ec2.create_route(**s.route_to(s.interface(s.run()[0])))
    gateway = s.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    s.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=s.vpc)
    yield
    with refused("InvalidParameterValue"):
        s.ec2.associate_route_table(RouteTableId=s.table, GatewayId=gateway)


def an_interface_of_another_vpc_is_no_target(server: Any) -> Iterator[None]:
    """CreateRoute: table and target are in one VPC."""
    s, other = Scene(server), Scene(server)
    interface = other.interface(other.run()[0])
    yield
    with refused("InvalidParameterValue", says="different networks"):
        s.ec2.create_route(**s.route_to(interface))


def a_route_needs_a_target(server: Any) -> Iterator[None]:
    """CreateRoute: "You must provide either a destination CIDR block … and a target"."""
    s = Scene(server)
    yield
    with refused("MissingParameter"):
        s.ec2.create_route(RouteTableId=s.table, DestinationCidrBlock="10.255.0.10/32")


def the_local_route_is_not_deleted(server: Any) -> Iterator[None]:
    """DeleteRoute: the local route stays."""
    s = Scene(server)
    yield
    with refused("InvalidParameterValue", says="local route"):
        s.ec2.delete_route(RouteTableId=s.table, DestinationCidrBlock="10.50.0.0/16")


def a_dry_run_replaces_no_route(server: Any) -> Iterator[None]:
    """EC2 API reference, "Common query parameters": DryRun."""
    s = Scene(server)
    first, second = s.interface(s.run()[0]), s.interface(s.run()[0])
    s.ec2.create_route(**s.route_to(first))
    yield
    with refused("DryRunOperation", 412):
        s.ec2.replace_route(**s.route_to(second), DryRun=True)
    with refused("DryRunOperation", 412):
        s.ec2.delete_route(RouteTableId=s.table, DestinationCidrBlock="10.255.0.10/32", DryRun=True)
    with refused("DryRunOperation", 412):
        s.ec2.create_route(**s.route_to(second, "10.255.0.11/32"), DryRun=True)
    assert s.routes()["10.255.0.10/32"]["NetworkInterfaceId"] == first
    assert "10.255.0.11/32" not in s.routes()


def a_route_to_a_terminated_instances_interface_is_a_blackhole(server: Any) -> Iterator[None]:
    """Route, State: blackhole "indicates that the route's target isn't available"."""
    s = Scene(server)
    instance = s.run()[0]
    s.ec2.create_route(**s.route_to(s.interface(instance)))
    s.end(instance)
    yield
    route = s.routes()["10.255.0.10/32"]
    assert route["State"] == "blackhole"
    assert route["NetworkInterfaceId"] == s.interface(instance)


def a_route_to_a_stopped_instances_interface_is_a_blackhole(server: Any) -> Iterator[None]:
    """The same, until it is started again."""
    s = Scene(server)
    instance = s.run()[0]
    s.ec2.create_route(**s.route_to(s.interface(instance)))
    server.post("shutting-down", {"ms": 0})
    s.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    server.post("shutting-down", {"ms": 200})
    yield
    assert s.routes()["10.255.0.10/32"]["State"] == "blackhole"
    s.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
    assert s.routes()["10.255.0.10/32"]["State"] == "active"


def a_route_shows_the_instance_behind_its_interface(server: Any) -> Iterator[None]:
    """Route, InstanceId and InstanceOwnerId."""
    s = Scene(server)
    instance = s.run()[0]
    s.ec2.create_route(**s.route_to(s.interface(instance)))
    yield
    route = s.routes()["10.255.0.10/32"]
    assert route["InstanceId"] == instance["InstanceId"]
    assert route["InstanceOwnerId"] == server.seed["account"]


def tables_are_found_by_their_routes(server: Any) -> Iterator[None]:
    """DescribeRouteTables, Filter: route.state, route.instance-id and the like."""
    s = Scene(server)
    instance = s.run()[0]
    s.ec2.create_route(**s.route_to(s.interface(instance)))

    def found(name: str, value: str) -> list[str]:
        of_vpc = {"Name": "vpc-id", "Values": [s.vpc]}
        answer = s.ec2.describe_route_tables(Filters=[of_vpc, {"Name": name, "Values": [value]}])
        return [table["RouteTableId"] for table in answer["RouteTables"]]

    yield
    assert found("route.instance-id", instance["InstanceId"]) == [s.table]
    assert len(found("route.state", "active")) == 2
    s.end(instance)
    assert found("route.state", "blackhole") == [s.table]
    assert found("route.destination-cidr-block", "10.255.0.10/32") == [s.table]
