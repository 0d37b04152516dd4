"""The filters of Describe calls. A filter that AWS doesn't list for a call is refused, as on AWS.

EC2 API reference, "DescribeInstances", "DescribeRouteTables", … (Filter.N); EC2 User Guide, "List and filter your
resources" (values are joined by or, filters by and; `*` and `?` are wildcards, a backslash escapes them; values are
case-sensitive).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from patches import errors

Values = Callable[[Any], Iterable[Any]]


def attribute(*path: str) -> Values:
    """The value at the end of a path of attributes; none if an attribute is missing."""

    def values(thing: Any) -> list[Any]:
        for name in path:
            thing = getattr(thing, name, None)
        return [] if thing is None else [thing]

    return values


def each(inner: str, *path: str) -> Values:
    """The same for each item of a list."""
    return lambda thing: [value for item in getattr(thing, inner) for value in attribute(*path)(item)]


def select(table: dict[str, Values], things: Iterable[Any], filters: dict[str, list[str]]) -> list[Any]:
    """The resources that pass all filters."""
    tests = [(_values(table, name), [_pattern(value) for value in values]) for name, values in filters.items()]
    return [t for t in things if all(any(p.fullmatch(_text(v)) for v in of(t) for p in ps) for of, ps in tests)]


def _values(table: dict[str, Values], name: str) -> Values:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda thing: [tag["value"] for tag in thing.get_tags() if tag["key"] == key]
    if name == "tag-key":
        return lambda thing: [tag["key"] for tag in thing.get_tags()]
    if name not in table:
        raise errors.invalid_value(f"The filter '{name}' is invalid")
    return table[name]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pattern(value: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", value, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


INSTANCES: dict[str, Values] = {
    "architecture": attribute("architecture"),
    "availability-zone": attribute("placement", "zone"),
    "client-token": attribute("client_token"),
    "dns-name": attribute("public_dns_name"),
    "group-id": each("security_groups", "id"),
    "group-name": each("security_groups", "name"),
    "hypervisor": attribute("hypervisor"),
    "iam-instance-profile.arn": lambda i: [(i.iam_instance_profile or {}).get("Arn", "")],
    "iam-instance-profile.id": lambda i: [(i.iam_instance_profile or {}).get("Id", "")],
    "image-id": attribute("image_id"),
    "instance-id": attribute("id"),
    "instance-lifecycle": attribute("lifecycle"),
    "instance-state-code": attribute("state_code"),
    "instance-state-name": attribute("state"),
    "instance-type": attribute("instance_type"),
    "instance.group-id": each("security_groups", "id"),
    "instance.group-name": each("security_groups", "name"),
    "ip-address": attribute("public_ip"),
    "key-name": attribute("key_name"),
    "launch-index": attribute("ami_launch_index"),
    "metadata-options.http-put-response-hop-limit": attribute("metadata_options", "http_put_response_hop_limit"),
    "metadata-options.http-tokens": attribute("metadata_options", "http_tokens"),
    "metadata-options.instance-metadata-tags": attribute("metadata_options", "instance_metadata_tags"),
    "network-interface.addresses.private-ip-address": each("network_interfaces", "private_ip_address"),
    "network-interface.group-id": lambda i: [g.id for n in i.network_interfaces for g in n.group_set],
    "network-interface.network-interface-id": each("network_interfaces", "id"),
    "network-interface.source-dest-check": each("network_interfaces", "source_dest_check"),
    "network-interface.status": each("network_interfaces", "status"),
    "network-interface.subnet-id": each("network_interfaces", "subnet_id"),
    "network-interface.vpc-id": each("network_interfaces", "vpc_id"),
    "owner-id": attribute("owner_id"),
    "private-dns-name": attribute("private_dns_name"),
    "private-ip-address": attribute("private_ip"),
    "root-device-name": attribute("root_device_name"),
    "root-device-type": attribute("root_device_type"),
    "source-dest-check": attribute("source_dest_check"),
    "state-reason-code": attribute("state_reason", "code"),
    "subnet-id": attribute("subnet_id"),
    "virtualization-type": attribute("virtualization_type"),
    "vpc-id": attribute("vpc_id"),
}

ROUTE_TABLES: dict[str, Values] = {
    "association.gateway-id": lambda t: [a for a in t._associations.values() if not a.startswith("subnet-")],
    "association.main": lambda t: [t.main_association_id is not None],
    "association.route-table-association-id": lambda t: t.all_associations_ids,
    "association.route-table-id": lambda t: [t.id] if t.all_associations_ids else [],
    "association.subnet-id": lambda t: [a for a in t._associations.values() if a.startswith("subnet-")],
    "owner-id": attribute("owner_id"),
    "route-table-id": attribute("id"),
    "route.destination-cidr-block": each("routes", "destination_cidr_block"),
    "route.destination-ipv6-cidr-block": each("routes", "destination_ipv6_cidr_block"),
    "route.destination-prefix-list-id": each("routes", "destination_prefix_list_id"),
    "route.egress-only-internet-gateway-id": each("routes", "egress_only_internet_gateway_id"),
    "route.gateway-id": each("routes", "gateway_id"),
    "route.instance-id": each("routes", "instance_id"),
    "route.nat-gateway-id": each("routes", "nat_gateway_id"),
    "route.origin": each("routes", "origin"),
    "route.state": each("routes", "state"),
    "route.transit-gateway-id": each("routes", "transit_gateway_id"),
    "route.vpc-peering-connection-id": each("routes", "vpc_peering_connection_id"),
    "vpc-id": attribute("vpc_id"),
}

INTERFACES: dict[str, Values] = {
    "addresses.private-ip-address": attribute("private_ip_address"),
    "attachment.attachment-id": attribute("attachment_id"),
    "attachment.delete-on-termination": attribute("delete_on_termination"),
    "attachment.device-index": lambda e: [e.device_index] if e.attachment_id else [],
    "attachment.instance-id": attribute("instance", "id"),
    "attachment.instance-owner-id": attribute("instance", "owner_id"),
    "attachment.status": lambda e: ["attached"] if e.attachment_id else [],
    "availability-zone": attribute("availability_zone"),
    "description": attribute("description"),
    "group-id": each("group_set", "id"),
    "group-name": each("group_set", "name"),
    "interface-type": attribute("interface_type"),
    "mac-address": attribute("mac_address"),
    "network-interface-id": attribute("id"),
    "owner-id": attribute("owner_id"),
    "private-ip-address": attribute("private_ip_address"),
    "requester-id": attribute("requester_id"),
    "requester-managed": attribute("requester_managed"),
    "source-dest-check": attribute("source_dest_check"),
    "status": attribute("status"),
    "subnet-id": attribute("subnet_id"),
    "vpc-id": attribute("vpc_id"),
}

SUBNETS: dict[str, Values] = {
    "availability-zone": attribute("availability_zone"),
    "availabilityZone": attribute("availability_zone"),
    "availability-zone-id": attribute("availability_zone_id"),
    "cidr": attribute("cidr_block"),
    "cidr-block": attribute("cidr_block"),
    "cidrBlock": attribute("cidr_block"),
    "default-for-az": attribute("default_for_az"),
    "map-public-ip-on-launch": attribute("map_public_ip_on_launch"),
    "owner-id": attribute("owner_id"),
    "state": attribute("state"),
    "subnet-arn": attribute("arn"),
    "subnet-id": attribute("id"),
    "vpc-id": attribute("vpc_id"),
}

VPCS: dict[str, Values] = {
    "cidr": attribute("cidr_block"),
    "cidr-block-association.cidr-block": lambda v: [a["cidr_block"] for a in v.get_cidr_block_association_set()],
    "dhcp-options-id": attribute("dhcp_options", "id"),
    "is-default": attribute("is_default"),
    "owner-id": attribute("owner_id"),
    "state": attribute("state"),
    "vpc-id": attribute("id"),
}

LAUNCH_TEMPLATES: dict[str, Values] = {
    "create-time": attribute("create_time"),
    "launch-template-name": attribute("name"),
}

TAGS: dict[str, Values] = {
    "key": lambda tag: [tag["key"]],
    "resource-id": lambda tag: [tag["resource_id"]],
    "resource-type": lambda tag: [tag["resource_type"]],
    "value": lambda tag: [tag["value"]],
}
