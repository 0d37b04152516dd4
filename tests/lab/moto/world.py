"""The world for the lab's other parts (`GET /lab/world`): the present state, whatever Describe calls show."""

from datetime import UTC
from typing import Any

from moto.iam.models import iam_backends

import instrument
from constants import ACCOUNT, PARTITION, REGION
from patches.auto_scaling import model

_cache: tuple[int, dict[str, Any]] | None = None


def world() -> dict[str, Any]:
    """The world, built once per generation."""
    global _cache
    now = instrument.generation()
    if _cache is None or _cache[0] != now:
        _cache = (now, _build(now))
    return _cache[1]


def _build(generation: int) -> dict[str, Any]:
    ec2 = instrument.ec2()
    return {
        "generation": generation,
        "region": REGION,
        "account": ACCOUNT,
        "vpcs": [_vpc(vpc) for vpc in ec2.vpcs.values()],
        "subnets": [_subnet(ec2, s) for zone in ec2.subnets.values() for s in zone.values()],
        "route_tables": [_route_table(ec2, table) for table in ec2.route_tables.values()],
        "security_groups": [_security_group(ec2, g) for groups in ec2.groups.values() for g in groups.values()],
        "interfaces": [_interface(ec2, eni) for eni in ec2.enis.values() if not _is_ending(eni.instance)],
        "instances": [_instance(ec2, r, i) for r in ec2.reservations.values() for i in r.instances],
    }


def _tags(ec2: Any, resource: str) -> dict[str, str]:
    return dict(ec2.tags.get(resource, {}))


def _vpc(vpc: Any) -> dict[str, Any]:
    return {"id": vpc.id, "cidrs": [a["cidr_block"] for a in vpc.get_cidr_block_association_set()]}


def _subnet(ec2: Any, subnet: Any) -> dict[str, Any]:
    return {
        "id": subnet.id,
        "vpc": subnet.vpc_id,
        "cidr": subnet.cidr_block,
        "zone": subnet.availability_zone,
        "zone_id": subnet.availability_zone_id,
        "tags": _tags(ec2, subnet.id),
    }


def _route_table(ec2: Any, table: Any) -> dict[str, Any]:
    targets = list(table._associations.values())
    return {
        "id": table.id,
        "vpc": table.vpc_id,
        "main": table.main_association_id is not None,
        "subnets": [target for target in targets if target.startswith("subnet-")],
        "gateways": [target for target in targets if not target.startswith("subnet-")],
        "tags": _tags(ec2, table.id),
        "routes": [
            {
                "destination": route.destination_cidr_block,
                "interface": route.interface.id if route.interface else None,
                "gateway": route.gateway_id,
                "state": route.state,
            }
            for route in table._routes.values()
            if route.destination_cidr_block
        ],
    }


def _rule(rule: Any) -> dict[str, Any]:
    cidr = rule.ip_range.get("CidrIp")
    group = rule.source_group.get("GroupId")
    return {
        "protocol": rule.ip_protocol,
        "from": rule.from_port,
        "to": rule.to_port,
        "cidrs": [cidr] if cidr else [],
        "groups": [group] if group else [],
    }


def _security_group(ec2: Any, group: Any) -> dict[str, Any]:
    return {
        "id": group.id,
        "vpc": group.vpc_id,
        "name": group.name,
        "tags": _tags(ec2, group.id),
        "ingress": [_rule(rule) for rule in group.ingress_rules],
        "egress": [_rule(rule) for rule in group.egress_rules],
    }


def _is_ending(instance: Any) -> bool:
    """Whether its power and its link are gone, although the API still shows its interface."""
    return instance is not None and instance.state in ("shutting-down", "terminated")


def _interface(ec2: Any, eni: Any) -> dict[str, Any]:
    return {
        "id": eni.id,
        "subnet": eni.subnet.id,
        "vpc": eni.subnet.vpc_id,
        "address": eni.private_ip_address,
        "mac": eni.mac_address,
        "source_dest_check": eni.source_dest_check,
        "groups": sorted(group.id for group in eni.group_set),
        "instance": eni.instance.id if eni.instance else None,
        "status": eni.status,
        "tags": _tags(ec2, eni.id),
    }


def role_of(profile_arn: str | None) -> str | None:
    """The name of the role in an instance profile, if both exist."""
    for profile in iam_backends[ACCOUNT][PARTITION].get_instance_profiles():
        if profile.arn == profile_arn and profile.roles:
            return profile.roles[0].name
    return None


def _instance(ec2: Any, reservation: Any, instance: Any) -> dict[str, Any]:
    eni = None if _is_ending(instance) else instance.nics.get(0)
    profile = (instance.iam_instance_profile or {}).get("Arn")
    options = instance.metadata_options
    return {
        "id": instance.id,
        "state": instance.state,
        "launch_index": int(instance.ami_launch_index),
        "type": instance.instance_type,
        "image": instance.image_id,
        "subnet": eni.subnet.id if eni else None,
        "vpc": eni.subnet.vpc_id if eni else None,
        "zone": instance.placement.zone,
        "address": eni.private_ip_address if eni else None,
        "interface": eni.id if eni else None,
        "mac": eni.mac_address if eni else None,
        "role": role_of(profile),
        "profile_arn": profile,
        "user_data": str(instance.user_data) if instance.user_data else None,
        "tags": _tags(ec2, instance.id),
        "target_lifecycle_state": model.store().targets.get(instance.id),
        "metadata_tags": options.instance_metadata_tags == "enabled",
        "hop_limit": options.http_put_response_hop_limit,
        "tokens": options.http_tokens,
        "launched": instance.launch_time.replace(tzinfo=UTC).isoformat(timespec="milliseconds"),
        "reservation": reservation.id,
    }
