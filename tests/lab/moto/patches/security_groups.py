"""Security groups: atomic changes of rules, protocols without ports, and no deletion while in use.

EC2 API reference, "CreateSecurityGroup" (names), "AuthorizeSecurityGroupIngress", "IpPermission" (ports only for TCP,
UDP and ICMP), "DeleteSecurityGroup" ("if the group is associated with an instance or network interface … or
referenced … DependencyViolation").
"""

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupBackend, SecurityGroupRule
from moto.ec2.responses.security_groups import SecurityGroups

from patches import errors

_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
_WITH_PORTS = {"tcp", "6", "udp", "17", "icmp", "1", "icmpv6", "58"}


def install() -> None:
    """Wraps rules, and the calls that create, change and delete groups."""
    _rules_without_ports()
    _create()
    for direction in ("ingress", "egress"):
        _authorize(direction)
    SecurityGroups.delete_security_group = _delete(SecurityGroups.delete_security_group)


def _rules_without_ports() -> None:
    inner = SecurityGroupRule.__init__

    def init(
        self: Any, backend: Any, ip_protocol: str, group_id: str, from_port: Any, to_port: Any, *rest: Any, **more: Any
    ) -> None:
        if str(ip_protocol).lower() not in _WITH_PORTS:
            inner(self, backend, "-1", group_id, None, None, *rest, **more)
            self.ip_protocol = "-1" if str(ip_protocol).lower() in ("all", "-1") else str(ip_protocol)
        else:
            inner(self, backend, ip_protocol, group_id, from_port, to_port, *rest, **more)

    SecurityGroupRule.__init__ = init


def _create() -> None:
    inner = SecurityGroupBackend.create_security_group

    def create(self: Any, name: str, description: str, vpc_id: str | None = None, **more: Any) -> SecurityGroup:
        if not _TEXT.fullmatch(name or "") or name.startswith("sg-"):
            raise errors.invalid_value(
                f"Value ({name}) for parameter GroupName is invalid. Character sets beyond ASCII are not supported."
            )
        if not _TEXT.fullmatch(description or ""):
            raise errors.invalid_value(
                f"Value ({description}) for parameter GroupDescription is invalid. "
                "Character sets beyond ASCII are not supported."
            )
        if not vpc_id and self.get_default_vpc() is None:
            raise errors.of("VPCIdNotSpecified", "No default VPC for this user")
        if vpc_id and vpc_id not in self.vpcs:
            raise errors.of("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")
        if any(group.name == name for group in self.groups.get(vpc_id, {}).values()):
            raise errors.of("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc_id}'")
        return inner(self, name, description, vpc_id, **{**more, "force": True})

    SecurityGroupBackend.create_security_group = create


def _authorize(direction: str) -> None:
    """Adds all rules or none; moto adds those before the first invalid one."""
    name = f"authorize_security_group_{direction}"
    inner = getattr(SecurityGroups, name)

    def authorize(self: SecurityGroups) -> Any:
        group_id = self._get_param("GroupId") or self._get_param("GroupName")
        group = self.ec2_backend.get_security_group_by_name_or_id(group_id)
        rules = f"{direction}_rules"
        before = list(getattr(group, rules)) if group else []
        try:
            inner(self)
        except Exception:
            if group:
                setattr(group, rules, before)
            raise
        # All added rules; moto answers those of the last permission.
        return ActionResult({"Return": True, "SecurityGroupRules": getattr(group, rules)[len(before) :]})

    setattr(SecurityGroups, name, authorize)


def _delete(inner: Any) -> Any:
    def delete(self: SecurityGroups) -> Any:
        backend = self.ec2_backend
        group = backend.get_security_group_by_name_or_id(self._get_param("GroupId") or self._get_param("GroupName"))
        if group is not None:
            if group.is_default:
                raise errors.of(
                    "CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
                )
            if _used(backend, group.id):
                raise errors.dependency(group.id)
        answer = inner(self)
        if group is not None:
            backend.tags.pop(group.id, None)
        return answer

    return delete


def _used(backend: Any, group_id: str) -> bool:
    """Whether an interface or a rule of another group uses it."""
    if any(group.id == group_id for eni in backend.enis.values() for group in eni.group_set):
        return True
    others = (g for groups in backend.groups.values() for g in groups.values() if g.id != group_id)
    return any(r.source_group.get("GroupId") == group_id for g in others for r in (*g.ingress_rules, *g.egress_rules))
