"""The permissions that each call needs: actions on resources, with their condition keys.

Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2" (and IAM, Systems Manager,
STS); EC2 User Guide, "Example policies to control access the Amazon EC2 API", "Grant permission to tag Amazon EC2
resources during creation", "Grant permissions to pass an IAM role to instances", and its "Condition keys" for
ec2:Attribute. A call that isn't listed needs its action on `*`. A policy that limits it to a resource denies it, as on
AWS for a call without resource-level permissions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.iam.models import iam_backends

from patches.policy import Context

_KINDS = {
    "i": "instance",
    "rtb": "route-table",
    "eni": "network-interface",
    "sg": "security-group",
    "subnet": "subnet",
    "vpc": "vpc",
    "lt": "launch-template",
    "vol": "volume",
    "igw": "internet-gateway",
    "ami": "image",
    "tgw-rtb": "transit-gateway-route-table",
}

# Calls on existing resources: the parameters that name them.
_EXISTING = {
    "CreateRoute": ["RouteTableId"],
    "ReplaceRoute": ["RouteTableId"],
    "DeleteRoute": ["RouteTableId"],
    "DeleteRouteTable": ["RouteTableId"],
    "AssociateRouteTable": ["RouteTableId", "SubnetId"],
    "ModifyInstanceAttribute": ["InstanceId"],
    "ModifyInstanceMetadataOptions": ["InstanceId"],
    "GetConsoleOutput": ["InstanceId"],
    "TerminateInstances": ["InstanceIds"],
    "StopInstances": ["InstanceIds"],
    "StartInstances": ["InstanceIds"],
    "RebootInstances": ["InstanceIds"],
    "DeleteSecurityGroup": ["GroupId"],
    "AuthorizeSecurityGroupIngress": ["GroupId"],
    "AuthorizeSecurityGroupEgress": ["GroupId"],
    "RevokeSecurityGroupIngress": ["GroupId"],
    "RevokeSecurityGroupEgress": ["GroupId"],
    "DeleteLaunchTemplate": ["LaunchTemplateId"],
    "ModifyLaunchTemplate": ["LaunchTemplateId"],
    "CreateLaunchTemplateVersion": ["LaunchTemplateId"],
    "ModifyNetworkInterfaceAttribute": ["NetworkInterfaceId"],
    "DeleteNetworkInterface": ["NetworkInterfaceId"],
    "AttachNetworkInterface": ["InstanceId", "NetworkInterfaceId"],
    "CreateTags": ["Resources"],
    "DeleteTags": ["Resources"],
    "SearchTransitGatewayRoutes": ["TransitGatewayRouteTableId"],
    "DescribeVpcAttribute": ["VpcId"],
}

# Calls that create a resource: its kind, and the parameters that name its parents.
_MAKING = {
    "CreateSecurityGroup": ("security-group", ["VpcId"]),
    "CreateLaunchTemplate": ("launch-template", []),
    "CreateRouteTable": ("route-table", ["VpcId"]),
    "CreateNetworkInterface": ("network-interface", ["SubnetId"]),
}

# Calls on a role that a policy can tie to its permissions boundary: the requested one, or the role's own. Service
# Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access Management".
_BY_BOUNDARY = {
    f"iam:{name}"
    for name in (
        "AttachRolePolicy",
        "CreateRole",
        "DeleteRole",
        "DeleteRolePermissionsBoundary",
        "DeleteRolePolicy",
        "DetachRolePolicy",
        "GetRole",
        "PutRolePermissionsBoundary",
        "PutRolePolicy",
        "UpdateAssumeRolePolicy",
    )
}


@dataclass
class Check:
    """The caller needs `action` on `resource`."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)
    # An error message instead of the usual one.
    says: str | None = None


class Ec2:
    """An EC2 call, with the backend and the owner's ARN prefix."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.backend = call.ec2_backend
        self.action = call._get_action()
        self.get = call._get_param
        self.owner = f"arn:{call.partition}:ec2:{call.region}:{call.current_account}"

    def arn(self, resource: str) -> str:
        kind = _KINDS.get(resource.rpartition("-")[0], "unknown")
        owner = f"arn:{self.call.partition}:ec2:{self.call.region}:" if kind == "image" else self.owner
        return f"{owner}:{kind}/{resource}"

    def about(self, resource: str) -> Context:
        """The condition keys of an existing resource."""
        context: Context = {}
        for key, value in self.backend.tags.get(resource, {}).items():
            context[f"aws:resourcetag/{key}".lower()] = context[f"ec2:resourcetag/{key}".lower()] = [value]
        if vpc := self._vpc(resource):
            context["ec2:vpc"] = [f"{self.owner}:vpc/{vpc}"]
        if resource.startswith("i-") and (instance := self.backend.get_instance_by_id(resource)):
            context["ec2:instancetype"] = [instance.instance_type]
            context["ec2:availabilityzone"] = [instance.placement.zone]
            if profile := (instance.iam_instance_profile or {}).get("Arn"):
                context["ec2:instanceprofile"] = [profile]
        return context

    def _vpc(self, resource: str) -> str | None:
        if resource in self.backend.route_tables:
            return self.backend.route_tables[resource].vpc_id
        if resource in self.backend.enis:
            return self.backend.enis[resource].subnet.vpc_id
        if resource.startswith("sg-") and (group := self.backend.get_security_group_from_id(resource)):
            return group.vpc_id
        return next((zone[resource].vpc_id for zone in self.backend.subnets.values() if resource in zone), None)

    def on(self, resource: str, extra: Context | None = None) -> Check:
        return Check(f"ec2:{self.action}", self.arn(resource), {**self.about(resource), **(extra or {})})

    def making(self, kind: str, extra: Context | None = None) -> Check:
        return Check(f"ec2:{self.action}", f"{self.owner}:{kind}/*", extra or {})


def tag_context(tags: dict[str, str]) -> Context:
    """The condition keys of tags in a request."""
    context = {f"aws:requesttag/{key}".lower(): [value or ""] for key, value in tags.items()}
    return {**context, "aws:tagkeys": list(tags)} if tags else {}


def _specified(specifications: list[dict[str, Any]] | None) -> dict[str, dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for one in specifications or []:
        kind = tags.setdefault(one.get("ResourceType", ""), {})
        kind.update({tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", [])})
    return tags


def of_ec2(call: Any) -> Iterator[Check]:
    """The checks of an EC2 call, in AWS's order."""
    ec2 = Ec2(call)
    if ec2.action == "RunInstances":
        yield from launching(ec2)
    elif ec2.action in _EXISTING:
        extra = _request_context(ec2)
        ids = [i for parameter in _EXISTING[ec2.action] for i in _ids(ec2, parameter)]
        yield from (ec2.on(resource, extra) for resource in ids)
    elif ec2.action in _MAKING:
        kind, inside = _MAKING[ec2.action]
        specified = _specified(ec2.get("TagSpecifications"))
        yield ec2.making(kind, tag_context(specified.get(kind, {})))
        yield from (ec2.on(resource) for parameter in inside for resource in _ids(ec2, parameter))
        yield from _tagging(ec2, specified)
    else:
        yield Check(f"ec2:{ec2.action}", "*")


def _ids(ec2: Ec2, parameter: str) -> list[str]:
    value = ec2.get(parameter) or []
    if not value and parameter == "LaunchTemplateId" and (name := ec2.get("LaunchTemplateName")):
        value = ec2.backend.launch_template_name_to_ids.get(name, [])
    return value if isinstance(value, list) else [value]


def _request_context(ec2: Ec2) -> Context:
    if ec2.action in ("CreateTags", "DeleteTags"):
        return tag_context({tag["Key"]: tag.get("Value", "") for tag in ec2.get("Tags", [])})
    if ec2.action == "ModifyInstanceAttribute":
        return _attribute_context(ec2)
    return {}


def _attribute_context(ec2: Ec2) -> Context:
    """`ec2:Attribute` is the parameter's name as in the request, `ec2:Attribute/Name` its value."""
    given = {name: value for name, value in dict(ec2.call.params).items() if name not in ("InstanceId", "DryRun")}
    if "Attribute" in given:
        given = {given["Attribute"]: given.get("Value")}
    context: Context = {"ec2:attribute": list(given)}
    for name, value in given.items():
        plain = value.get("Value") if isinstance(value, dict) else value
        text = str(plain).lower() if isinstance(plain, bool) else str(plain)
        context[f"ec2:attribute/{name}".lower()] = [text]
    return context


def _tagging(ec2: Ec2, specified: dict[str, dict[str, str]]) -> Iterator[Check]:
    for kind, tags in specified.items():
        context = {**tag_context(tags), "ec2:createaction": [ec2.action]}
        yield Check("ec2:CreateTags", f"{ec2.owner}:{kind}/*", context)


def launching(ec2: Ec2) -> Iterator[Check]:
    """The checks of RunInstances."""
    from patches.instances import with_template

    try:
        wanted, version = with_template(ec2.backend, dict(ec2.call.params))
    except EC2ClientError:
        # A caller who may launch gets the template's error.
        yield Check("ec2:RunInstances", "*")
        return
    specified = _specified(wanted.get("TagSpecifications"))
    common: Context = {"ec2:instancetype": [wanted.get("InstanceType") or "m1.small"]}
    if version:
        common["ec2:launchtemplate"] = [ec2.arn(version.template.id)]
        yield ec2.on(version.template.id)
    first = next(iter(wanted.get("NetworkInterfaces") or []), {})
    existing = [
        wanted.get("SubnetId") or first.get("SubnetId"),
        *(first.get("Groups") or wanted.get("SecurityGroupIds") or []),
    ]
    if str(wanted.get("ImageId", "")).startswith("ami-"):
        existing.append(wanted["ImageId"])
    yield from (ec2.on(resource, common) for resource in existing if resource)
    for kind in ("instance", "network-interface", "volume"):
        yield ec2.making(kind, {**common, **tag_context(specified.get(kind, {}))})
    yield from _tagging(ec2, specified)
    profile = wanted.get("IamInstanceProfile") or {}
    for known in iam_backends[ec2.call.current_account][ec2.call.partition].get_instance_profiles():
        if known.roles and (known.name == profile.get("Name") or known.arn == profile.get("Arn")):
            yield Check("iam:PassRole", known.roles[0].arn, {"iam:passedtoservice": ["ec2.amazonaws.com"]})


def of_iam(call: Any) -> Iterator[Check]:
    """The checks of an IAM call."""
    action = f"iam:{call._get_action()}"
    account = f"arn:{call.partition}:iam::{call.current_account}"
    backend = iam_backends[call.current_account][call.partition]
    tags = tag_context({tag["Key"]: tag.get("Value", "") for tag in call._get_param("Tags") or []})
    role, profile = call._get_param("RoleName"), call._get_param("InstanceProfileName")
    roles = {r.name: r for r in backend.get_roles()}
    # Of what doesn't exist yet, only a call that creates it knows the path.
    path = call._get_param("Path") or "/"
    role_arn = roles[role].arn if role in roles else f"{account}:role{path}{role}"
    if profile:
        known = {p.name: p.arn for p in backend.get_instance_profiles()}
        yield Check(action, known.get(profile, f"{account}:instance-profile{path}{profile}"), tags)
        if role and action == "iam:AddRoleToInstanceProfile":
            yield Check("iam:PassRole", role_arn, {"iam:passedtoservice": ["ec2.amazonaws.com"]})
    elif role:
        context = (
            {f"aws:resourcetag/{t['Key']}".lower(): [t["Value"]] for t in roles[role].tags} if role in roles else {}
        )
        if policy := call._get_param("PolicyArn"):
            context["iam:policyarn"] = [policy]
        boundary = call._get_param("PermissionsBoundary") or (
            roles[role].permissions_boundary_arn if role in roles else None
        )
        if boundary and action in _BY_BOUNDARY:
            context["iam:permissionsboundary"] = [boundary]
        yield Check(action, role_arn, {**context, **tags})
    elif policy := call._get_param("PolicyArn") or call._get_param("PolicySourceArn"):
        yield Check(action, policy, tags)
    elif service := call._get_param("AWSServiceName"):
        yield Check(action, f"{account}:role/aws-service-role/{service}/*", {"iam:awsservicename": [service]})
    elif user := call._get_param("UserName"):
        yield Check(action, f"{account}:user/{user}", tags)
    else:
        yield Check(action, "*", tags)


def of_ssm(call: Any) -> Iterator[Check]:
    """The checks of a Systems Manager call. AWS's public parameters belong to no account."""
    action = f"ssm:{call._get_action()}"
    names = call._get_param("Names") or [n for n in [call._get_param("Name")] if n]
    for name in names:
        owner = "" if name.startswith("/aws/service/") else call.current_account
        yield Check(action, f"arn:{call.partition}:ssm:{call.region}:{owner}:parameter/{name.lstrip('/')}")
    if not names:
        yield Check(action, "*")


def of_sts(call: Any) -> Iterator[Check]:
    """The checks of an STS call. GetCallerIdentity needs no permission."""
    action = f"sts:{call._get_action()}"
    if action != "sts:GetCallerIdentity":
        yield Check(action, call._get_param("RoleArn") or "*")


OF_SERVICE: dict[str, Callable[[Any], Iterator[Check]]] = {"ec2": of_ec2, "iam": of_iam, "ssm": of_ssm, "sts": of_sts}


def of(call: Any) -> Iterator[Check]:
    """The checks of a call to any service."""
    inner = OF_SERVICE.get(call.service_name)
    return inner(call) if inner else iter([Check(f"{call.service_name}:{call._get_action()}", "*")])
