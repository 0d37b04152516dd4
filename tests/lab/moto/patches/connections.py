"""The filters of DescribeVpcPeeringConnections, which moto ignores, and its pages.

EC2 API reference, "DescribeVpcPeeringConnections" (Filter.N).
"""

from moto.core.responses import ActionResult
from moto.ec2.responses.vpc_peering_connections import VPCPeeringConnections

from patches import describe, filters

_PEERINGS: dict[str, filters.Values] = {
    "accepter-vpc-info.owner-id": filters.attribute("peer_vpc", "owner_id"),
    "accepter-vpc-info.vpc-id": filters.attribute("peer_vpc", "id"),
    "requester-vpc-info.owner-id": filters.attribute("vpc", "owner_id"),
    "requester-vpc-info.vpc-id": filters.attribute("vpc", "id"),
    "status-code": filters.attribute("_status", "code"),
    "vpc-peering-connection-id": filters.attribute("id"),
}


def install() -> None:
    """Replaces the call."""
    VPCPeeringConnections.describe_vpc_peering_connections = describe_vpc_peering_connections
    describe.paged(VPCPeeringConnections, "describe_vpc_peering_connections", "VpcPeeringConnections", {})


def describe_vpc_peering_connections(self: VPCPeeringConnections) -> ActionResult:
    """The action."""
    ids = self._get_param("VpcPeeringConnectionIds", [])
    known = self.ec2_backend.describe_vpc_peering_connections(vpc_peering_ids=ids)
    chosen = filters.select(_PEERINGS, known, self._filters_from_querystring())
    return ActionResult({"VpcPeeringConnections": chosen})
