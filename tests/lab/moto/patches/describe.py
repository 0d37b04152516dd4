"""Describe calls with filters (filters.py), pages after filtering, and errors for unknown IDs.

EC2 API reference, "Pagination" and the pages of the calls below.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.responses.route_tables import RouteTables
from moto.ec2.responses.security_groups import SecurityGroups
from moto.ec2.responses.subnets import Subnets
from moto.ec2.responses.tags import TagResponse
from moto.ec2.responses.transit_gateway_attachments import TransitGatewayAttachment
from moto.ec2.responses.transit_gateway_route_tables import TransitGatewayRouteTable
from moto.ec2.responses.vpcs import VPCs
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from patches import errors, filters, launch_templates

_PAGE = 1000
_ALL = 1_000_000


def install() -> None:
    """Replaces the Describe calls that Elbow makes."""
    InstanceResponse.describe_instances = describe_instances
    InstanceResponse.describe_instance_status = describe_instance_status
    RouteTables.describe_route_tables = describe_route_tables
    ElasticNetworkInterfaces.describe_network_interfaces = describe_network_interfaces
    Subnets.describe_subnets = describe_subnets
    VPCs.describe_vpcs = describe_vpcs
    TagResponse.describe_tags = describe_tags
    LaunchTemplates.describe_launch_templates = describe_launch_templates
    _security_groups()
    paged(SecurityGroups, "describe_security_groups", "SecurityGroups", {})
    paged(ElasticBlockStore, "describe_volumes", "Volumes", {"ids": "VolumeIds"})
    paged(InstanceResponse, "describe_instance_types", "InstanceTypes", {"ids": "InstanceTypes", "most": 100})
    paged(InstanceResponse, "describe_instance_type_offerings", "InstanceTypeOfferings", {})
    paged(VPCs, "describe_vpc_endpoints", "VpcEndpoints", {})
    paged(TransitGatewayAttachment, "describe_transit_gateway_attachments", "TransitGatewayAttachments", {})
    paged(TransitGatewayRouteTable, "describe_transit_gateway_route_tables", "transitGatewayRouteTables", {})
    versions = {"least": 1, "most": 200}
    paged(LaunchTemplates, "describe_launch_template_versions", "LaunchTemplateVersions", versions)


def paged(responses: type[EC2BaseResponse], name: str, key: str, rules: dict[str, Any]) -> None:
    """Adds pages to a call for which moto answers all at once or drops the rest."""
    inner = getattr(responses, name)

    def answer(self: EC2BaseResponse) -> ActionResult:
        number = self._get_int_param
        self._get_int_param = lambda name, *rest: _ALL if name == "MaxResults" else number(name, *rest)
        result = inner(self).result
        result[key], result["NextToken"] = _page(self, list(result[key]), **rules)
        return ActionResult(result)

    setattr(responses, name, answer)


def _page(
    self: EC2BaseResponse, things: list[Any], ids: str = "", least: int = 5, most: int = 1000
) -> tuple[list[Any], str | None]:
    """The requested page and the next token, which is a position. A request with `ids` can't have pages."""
    limit = self._get_param("MaxResults")
    if limit is not None and ids and self._get_param(ids):
        raise errors.of(
            "InvalidParameterCombination", "The parameter MaxResults cannot be used with IDs in the same request"
        )
    if limit is not None and not least <= int(limit) <= most:
        raise errors.invalid_value(
            f"Value ( {limit} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}."
        )
    start = int(self._get_param("NextToken") or 0)
    end = start + int(limit or _PAGE)
    return things[start:end], str(end) if end < len(things) else None


def _found(self: EC2BaseResponse, parameter: str, known: dict[str, Any], code: str, noun: str) -> list[Any]:
    """The resources that a parameter names, or all without it. An unknown ID is an error."""
    ids = self._get_param(parameter) or []
    for unknown in [i for i in ids if i not in known]:
        raise errors.of(code, f"The {noun} '{unknown}' does not exist")
    return [known[i] for i in ids] if ids else list(known.values())


class _Seen:
    """A reservation with the instances that pass the filters."""

    def __init__(self, reservation: Any, instances: list[Any]) -> None:
        self.id = self.reservation_id = reservation.id
        self.owner_id = reservation.owner_id
        self.groups: list[Any] = []
        self.instances = instances


def describe_instances(self: InstanceResponse) -> ActionResult:
    """DescribeInstances."""
    reservations = list(self.ec2_backend.reservations.values())
    known = {i.id: i for r in reservations for i in r.instances}
    wanted = _found(self, "InstanceIds", known, "InvalidInstanceID.NotFound", "instance ID")
    chosen = {i.id for i in filters.select(filters.INSTANCES, wanted, self._filters_from_querystring())}
    seen = [_Seen(r, [i for i in r.instances if i.id in chosen]) for r in reservations]
    page, token = _page(self, [r for r in seen if r.instances], "InstanceIds")
    return ActionResult({"Reservations": page, "NextToken": token})


def describe_instance_status(self: InstanceResponse) -> ActionResult:
    """DescribeInstanceStatus: running instances, or all with IncludeAllInstances."""
    known = {i.id: i for r in self.ec2_backend.reservations.values() for i in r.instances}
    wanted = _found(self, "InstanceIds", known, "InvalidInstanceID.NotFound", "instance ID")
    if not self._get_param("IncludeAllInstances"):
        wanted = [i for i in wanted if i.state == "running"]
    chosen = filters.select(filters.INSTANCES, wanted, self._filters_from_querystring())
    page, token = _page(self, chosen, "InstanceIds")
    return ActionResult({"InstanceStatuses": page, "NextToken": token})


def describe_route_tables(self: RouteTables) -> ActionResult:
    """DescribeRouteTables."""
    known = self.ec2_backend.route_tables
    wanted = _found(self, "RouteTableIds", known, "InvalidRouteTableID.NotFound", "routeTable ID")
    chosen = filters.select(filters.ROUTE_TABLES, wanted, self._filters_from_querystring())
    page, token = _page(self, chosen, most=100)
    return ActionResult({"RouteTables": page, "NextToken": token})


def describe_network_interfaces(self: ElasticNetworkInterfaces) -> ActionResult:
    """DescribeNetworkInterfaces."""
    known = self.ec2_backend.enis
    wanted = _found(self, "NetworkInterfaceIds", known, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID")
    chosen = filters.select(filters.INTERFACES, wanted, self._filters_from_querystring())
    page, token = _page(self, chosen, "NetworkInterfaceIds")
    return ActionResult({"NetworkInterfaces": page, "NextToken": token})


def describe_subnets(self: Subnets) -> ActionResult:
    """DescribeSubnets."""
    known = {s.id: s for zone in self.ec2_backend.subnets.values() for s in zone.values()}
    wanted = _found(self, "SubnetIds", known, "InvalidSubnetID.NotFound", "subnet ID")
    page, token = _page(self, filters.select(filters.SUBNETS, wanted, self._filters_from_querystring()))
    return ActionResult({"Subnets": page, "NextToken": token})


def describe_vpcs(self: VPCs) -> ActionResult:
    """DescribeVpcs."""
    wanted = _found(self, "VpcIds", self.ec2_backend.vpcs, "InvalidVpcID.NotFound", "vpc ID")
    page, token = _page(self, filters.select(filters.VPCS, wanted, self._filters_from_querystring()))
    return ActionResult({"Vpcs": page, "NextToken": token})


def describe_tags(self: TagResponse) -> ActionResult:
    """DescribeTags."""
    every = [
        {"resource_id": r, "key": k, "value": v, "resource_type": EC2_PREFIX_TO_RESOURCE.get(get_prefix(r), "")}
        for r, own in self.ec2_backend.tags.items()
        for k, v in own.items()
    ]
    page, token = _page(self, filters.select(filters.TAGS, every, self._filters_from_querystring()))
    return ActionResult({"Tags": page, "NextToken": token})


def describe_launch_templates(self: LaunchTemplates) -> ActionResult:
    """DescribeLaunchTemplates."""
    backend = self.ec2_backend
    known = backend.launch_templates
    names = self._get_param("LaunchTemplateNames") or []
    ids = self._get_param("LaunchTemplateIds") or []
    for unknown in [i for i in ids if i not in known]:
        raise errors.of(
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {unknown}, does not exist.",
        )
    if any(name not in backend.launch_template_name_to_ids for name in names):
        raise errors.of(
            "InvalidLaunchTemplateName.NotFoundException",
            "At least one of the launch templates specified in the request does not exist.",
        )
    ids = [*ids, *(backend.launch_template_name_to_ids[name] for name in names)]
    wanted = [known[i] for i in ids] if ids else list(known.values())
    chosen = filters.select(filters.LAUNCH_TEMPLATES, wanted, self._filters_from_querystring())
    page, token = _page(self, chosen, least=1, most=200)
    described = [launch_templates.described(self, template) for template in page]
    return ActionResult({"LaunchTemplates": described, "NextToken": token})


def _security_groups() -> None:
    inner = SecurityGroups.describe_security_groups

    def describe_security_groups(self: SecurityGroups) -> ActionResult:
        for group_id in self._get_param("GroupIds") or []:
            if self.ec2_backend.get_security_group_from_id(group_id) is None:
                raise errors.of("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
        known = next(iter(next(iter(self.ec2_backend.groups.values())).values())).filters
        for name in self._filters_from_querystring():
            if name not in known and not name.startswith("tag:") and name != "tag-key":
                raise errors.invalid_value(f"The filter '{name}' is invalid")
        return inner(self)

    SecurityGroups.describe_security_groups = describe_security_groups
