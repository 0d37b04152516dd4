"""Routes: checks of destinations and targets, the quota of a table, and the state `blackhole`.

EC2 API reference, "CreateRoute", "ReplaceRoute", "DeleteRoute", "AssociateRouteTable", "Route" (State); error codes
RouteAlreadyExists, InvalidRoute.NotFound. VPC User Guide, "Route table concepts", "Gateway route tables" (no routes
outside the VPC's CIDRs), "Example routing options" (more specific than local: a whole subnet's CIDR only), "Amazon VPC
quotas" (routes per route table); error code RouteLimitExceeded.
"""

import ipaddress
from typing import Any

from moto.ec2.models.route_tables import Route, RouteTable
from moto.ec2.responses.route_tables import RouteTables

from patches import errors

# AWS's default.
_ROUTES = 500

_TARGETS = (
    "GatewayId",
    "InstanceId",
    "NatGatewayId",
    "EgressOnlyInternetGatewayId",
    "TransitGatewayId",
    "NetworkInterfaceId",
    "VpcPeeringConnectionId",
    "CarrierGatewayId",
    "VpcEndpointId",
    "LocalTarget",
)


def install() -> None:
    """Adds checks to CreateRoute, ReplaceRoute, DeleteRoute and AssociateRouteTable, and a state to routes."""
    for name, check in (
        ("create_route", _check_create),
        ("replace_route", _check_replace),
        ("delete_route", _check_delete),
    ):
        setattr(RouteTables, name, _checked(getattr(RouteTables, name), check))
    RouteTables.associate_route_table = _checked(RouteTables.associate_route_table, _check_associate)
    Route.state = property(_state)
    Route.instance_id = property(lambda self: _instance_of(self))
    Route.instance_owner_id = property(
        lambda self: self.route_table.ec2_backend.account_id if _instance_of(self) else None
    )


def _checked(action: Any, check: Any) -> Any:
    def checked(self: RouteTables) -> Any:
        check(self, self.ec2_backend.get_route_table(self._get_param("RouteTableId")))
        return action(self)

    return checked


def _instance_of(route: Route) -> str | None:
    if route.instance:
        return route.instance.id
    live = route.interface and route.route_table.ec2_backend.enis.get(route.interface.id)
    return live.instance.id if live and live.instance else None


def _state(route: Route) -> str:
    """`blackhole` if the target's interface is deleted or detached, or its instance isn't running."""
    interface = route.interface
    if interface is None:
        return "active"
    live = route.route_table.ec2_backend.enis.get(interface.id)
    if live is None or live.status != "in-use":
        return "blackhole"
    if live.instance and live.instance.state not in ("pending", "running", "stopping"):
        return "blackhole"
    return "active"


def _destination(self: RouteTables) -> ipaddress.IPv4Network | None:
    """The route's IPv4 destination in canonical form; None for IPv6 and prefix lists, which Elbow doesn't use."""
    text = self._get_param("DestinationCidrBlock")
    if text is None:
        if self._get_param("DestinationIpv6CidrBlock") or self._get_param("DestinationPrefixListId"):
            return None
        raise errors.missing("DestinationCidrBlock")
    try:
        if "/" not in text:
            raise ValueError(text)
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise errors.invalid_value(
            f"Value ({text}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block."
        ) from None
    self.params["DestinationCidrBlock"] = str(network)
    return network


def _target(self: RouteTables, table: RouteTable) -> None:
    given = [name for name in _TARGETS if self._get_param(name)]
    if not given:
        raise errors.missing("a target: one of " + ", ".join(_TARGETS))
    if len(given) > 1:
        raise errors.of("InvalidParameterCombination", f"The parameters {' and '.join(given)} cannot be used together")
    if given[0] == "NetworkInterfaceId":
        eni = self.ec2_backend.get_network_interface(self._get_param(given[0]))
        if eni.subnet.vpc_id != table.vpc_id:
            raise errors.invalid_value(f"route table {table.id} and interface {eni.id} belong to different networks")


def _cidrs(backend: Any, vpc_id: str) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(a["cidr_block"]) for a in backend.get_vpc(vpc_id).get_cidr_block_association_set()]


def _check_create(self: RouteTables, table: RouteTable) -> None:
    network = _destination(self)
    _target(self, table)
    if len(table._routes) >= _ROUTES:
        raise errors.of("RouteLimitExceeded", "The maximum number of routes has been reached.")
    if network is None:
        return
    if any(route.destination_cidr_block == str(network) for route in table._routes.values()):
        raise errors.of("RouteAlreadyExists", f"The route identified by {network} already exists.")
    backend = self.ec2_backend
    inside = any(network.subnet_of(cidr) for cidr in _cidrs(backend, table.vpc_id))
    if inside:
        subnets = [s.cidr_block for zone in backend.subnets.values() for s in zone.values() if s.vpc_id == table.vpc_id]
        if str(network) not in subnets:
            raise errors.invalid_value("Route destination doesn't match any subnet CIDR blocks.")
    elif gateway := next((t for t in table._associations.values() if not t.startswith("subnet-")), None):
        raise errors.invalid_value(
            f"The destination CIDR block {network} is not within the VPC, and route table {table.id} is associated "
            f"with gateway {gateway}."
        )


def _check_replace(self: RouteTables, table: RouteTable) -> None:
    network = _destination(self)
    _target(self, table)
    if network is None:
        return
    if not any(route.destination_cidr_block == str(network) for route in table._routes.values()):
        raise errors.invalid_value(
            f"There is no route defined for '{network}' in the route table. Use CreateRoute instead."
        )


def _check_delete(self: RouteTables, table: RouteTable) -> None:
    network = _destination(self)
    for route in table._routes.values():
        if route.local and route.destination_cidr_block == str(network):
            raise errors.invalid_value(f"cannot remove local route {network} in route table {table.id}")


def _check_associate(self: RouteTables, table: RouteTable) -> None:
    gateway = self._get_param("GatewayId")
    if gateway is None:
        return
    cidrs = _cidrs(self.ec2_backend, table.vpc_id)
    for route in table._routes.values():
        text = route.destination_cidr_block
        if text and not any(ipaddress.IPv4Network(text).subnet_of(cidr) for cidr in cidrs):
            raise errors.invalid_value(
                f"Route table {table.id} has a route to {text}, outside the VPC, and cannot be associated with gateway "
                f"{gateway}."
            )
