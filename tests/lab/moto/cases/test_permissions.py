"""Policies on calls to EC2, with a node's credentials. Pages are named in patches/checks.py, policy.py and
authorization.py."""

import json
from collections.abc import Iterator
from typing import Any

from cases.scene import TRUST, Scene, refused

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def _allow(*actions: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


def without_a_policy_a_call_is_unauthorized(server: Any) -> Iterator[None]:
    """ "Error codes": UnauthorizedOperation, 403."""
    s = Scene(server)
    instance, node = s.as_node()
    yield
    arn = f"assumed-role/{s.name}/{instance['InstanceId']}"
    with refused(
        "UnauthorizedOperation", 403, says=f"{arn} is not authorized to perform: ec2:DescribeInstances because no"
    ):
        node.describe_instances()


def routes_can_be_limited_to_a_vpc(server: Any) -> Iterator[None]:
    """CreateRoute, ReplaceRoute: resource route-table, condition key ec2:Vpc."""
    s, other = Scene(server), Scene(server)
    vpc = f"arn:aws:ec2:eu-west-1:{server.seed['account']}:vpc/{s.vpc}"
    tables = "arn:aws:ec2:*:*:route-table/*"
    instance, node = s.as_node(_allow("ec2:CreateRoute", "ec2:ReplaceRoute", resource=tables, ArnLike={"ec2:Vpc": vpc}))
    to = s.route_to(s.interface(instance))
    yield
    node.create_route(**to)
    node.replace_route(**to)
    with refused(
        "UnauthorizedOperation", 403, says=f"route-table/{other.table} because no identity-based policy allows"
    ):
        node.create_route(**{**to, "RouteTableId": other.table})


def reads_of_one_resource_can_be_limited_to_it(server: Any) -> Iterator[None]:
    """DescribeVpcAttribute: resource vpc."""
    s, other = Scene(server), Scene(server)
    own = f"arn:aws:ec2:eu-west-1:{server.seed['account']}:vpc/{s.vpc}"
    _, node = s.as_node(_allow("ec2:DescribeVpcAttribute", resource=own))
    yield
    node.describe_vpc_attribute(VpcId=s.vpc, Attribute="enableDnsSupport")
    with refused("UnauthorizedOperation", 403, says=f"vpc/{other.vpc} because no identity-based policy allows"):
        node.describe_vpc_attribute(VpcId=other.vpc, Attribute="enableDnsSupport")


def a_policy_can_name_the_user_who_calls(server: Any) -> Iterator[None]:
    """IAM User Guide, "IAM policy elements: Variables and tags": aws:username."""
    s = Scene(server)
    user = s.iam.create_user(UserName=s.name)["User"]["Arn"]
    own = _allow("iam:SimulatePrincipalPolicy", resource="arn:aws:iam::*:user/${aws:username}")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [own]})
    s.iam.put_user_policy(UserName=s.name, PolicyName="own", PolicyDocument=policy)
    key = s.iam.create_access_key(UserName=s.name)["AccessKey"]
    iam = server.client("iam", {**key, "Token": None})
    yield
    iam.simulate_principal_policy(PolicySourceArn=user, ActionNames=["iam:GetUser"])
    with refused("AccessDenied", 403):
        iam.simulate_principal_policy(PolicySourceArn=server.seed["operator"]["arn"], ActionNames=["iam:GetUser"])


def a_describe_call_is_allowed_on_everything_or_not_at_all(server: Any) -> Iterator[None]:
    """DescribeInstances, DescribeNetworkInterfaces: no resource-level permissions."""
    s = Scene(server)
    group = s.group()
    calls = ("ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces")
    instance, node = s.as_node(_allow(*calls), SecurityGroupIds=[group])
    filters = [{"Name": "group-id", "Values": [group]}, {"Name": "vpc-id", "Values": [s.vpc]}]
    found = node.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    assert [i["NetworkInterfaceId"] for i in found] == [s.interface(instance)]
    assert [g["GroupName"] for g in found[0]["Groups"]] == ["members"]
    narrow = [_allow(*calls, resource="arn:aws:ec2:*:*:*/*")]
    document = json.dumps({"Version": "2012-10-17", "Statement": narrow})
    s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=document)
    yield
    for call in (node.describe_instances, node.describe_network_interfaces):
        with refused("UnauthorizedOperation", 403):
            call()


def _with_one_table_allowed(s: Scene) -> tuple[Any, dict[str, str], str]:
    """A node's client that may create routes in the scene's table, such a route, and a forbidden table."""
    second = s.ec2.create_route_table(VpcId=s.vpc)["RouteTable"]["RouteTableId"]
    instance, node = s.as_node(_allow("ec2:CreateRoute", resource=f"arn:aws:ec2:*:*:route-table/{s.table}"))
    return node, s.route_to(s.interface(instance)), second


def routes_can_be_limited_to_tables(server: Any) -> Iterator[None]:
    """CreateRoute: resource arn:…:route-table/id."""
    node, to, second = _with_one_table_allowed(Scene(server))
    yield
    node.create_route(**to)
    with refused("UnauthorizedOperation", 403):
        node.create_route(**{**to, "RouteTableId": second})


def attributes_can_be_limited(server: Any) -> Iterator[None]:
    """ModifyInstanceAttribute: aws:ResourceTag and ec2:Attribute."""
    s = Scene(server)
    only = {"aws:ResourceTag/elbow:balancer": "web", "ec2:Attribute": "SourceDestCheck"}
    statement = _allow("ec2:ModifyInstanceAttribute", resource="arn:aws:ec2:*:*:instance/*", StringEquals=only)
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": "elbow:balancer", "Value": "web"}]}]
    instance, node = s.as_node(statement, TagSpecifications=tagged)
    untagged = s.run()[0]["InstanceId"]
    off = {"SourceDestCheck": {"Value": False}}
    yield
    node.modify_instance_attribute(InstanceId=instance["InstanceId"], **off)
    with refused("UnauthorizedOperation", 403):
        node.modify_instance_attribute(InstanceId=untagged, **off)
    with refused("UnauthorizedOperation", 403):
        node.modify_instance_attribute(InstanceId=instance["InstanceId"], InstanceType={"Value": "t3.large"})


def tag_keys_can_be_limited(server: Any) -> Iterator[None]:
    """CreateTags: aws:TagKeys with ForAllValues, and Null to require at least one."""
    s = Scene(server)
    conditions = {"ForAllValues:StringEquals": {"aws:TagKeys": ["elbow:role"]}, "Null": {"aws:TagKeys": "false"}}
    instance, node = s.as_node(_allow("ec2:CreateTags", "ec2:DeleteTags", **conditions))
    ours, theirs = {"Key": "elbow:role", "Value": "active"}, {"Key": "Name", "Value": "mine"}
    resources = [instance["InstanceId"]]
    yield
    node.create_tags(Resources=resources, Tags=[ours])
    for call in (node.create_tags, node.delete_tags):
        with refused("UnauthorizedOperation", 403):
            call(Resources=resources, Tags=[ours, theirs])


def a_dry_run_checks_permissions_first(server: Any) -> Iterator[None]:
    """ "Common query parameters", DryRun: DryRunOperation if permitted, otherwise UnauthorizedOperation."""
    node, to, second = _with_one_table_allowed(Scene(server))
    yield
    with refused("DryRunOperation", 412):
        node.create_route(**to, DryRun=True)
    with refused("UnauthorizedOperation", 403):
        node.create_route(**{**to, "RouteTableId": second}, DryRun=True)


def a_deny_applies_only_if_its_condition_does(server: Any) -> Iterator[None]:
    """ "Policy evaluation logic": an explicit deny wins if it applies."""
    s = Scene(server)
    deny = {
        "Effect": "Deny",
        "Action": "ec2:TerminateInstances",
        "Resource": "*",
        "Condition": {"StringNotEquals": {"ec2:ResourceTag/mine": "yes"}},
    }
    _, node = s.as_node(EVERYTHING, deny)
    mine = s.run(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "mine", "Value": "yes"}]}])[0][
        "InstanceId"
    ]
    other = s.run()[0]["InstanceId"]
    yield
    node.terminate_instances(InstanceIds=[mine])
    with refused("UnauthorizedOperation", 403, says="with an explicit deny in an identity-based policy"):
        node.terminate_instances(InstanceIds=[other])


def launching_with_a_role_needs_pass_role(server: Any) -> Iterator[None]:
    """ "Grant permissions to pass an IAM role to instances": iam:PassRole on the role."""
    s = Scene(server)
    _, node = s.as_node(_allow("ec2:*"))
    run = {"ImageId": s.image, "InstanceType": "t3.small", "MinCount": 1, "MaxCount": 1, "SubnetId": s.subnet}
    node.run_instances(**run)
    yield
    with refused(
        "UnauthorizedOperation", 403, says=f"iam:PassRole on resource: arn:aws:iam::{server.seed['account']}:role/"
    ):
        node.run_instances(**run, IamInstanceProfile={"Name": s.name})


def launching_with_tags_needs_create_tags(server: Any) -> Iterator[None]:
    """ "Grant permission to tag Amazon EC2 resources during creation": ec2:CreateTags."""
    s = Scene(server)
    _, node = s.as_node(_allow("ec2:RunInstances"))
    run = {"ImageId": s.image, "InstanceType": "t3.small", "MinCount": 1, "MaxCount": 1, "SubnetId": s.subnet}
    node.run_instances(**run)
    yield
    with refused("UnauthorizedOperation", 403, says="ec2:CreateTags"):
        node.run_instances(
            **run, TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
        )


def a_changed_policy_applies_at_once(server: Any) -> Iterator[None]:
    """IAM: permissions and conditions are evaluated for each call."""
    s = Scene(server)
    instance, node = s.as_node(_allow("ec2:DescribeInstances", StringEquals={"aws:RequestedRegion": "us-east-1"}))
    del instance
    yield
    with refused("UnauthorizedOperation", 403):
        node.describe_instances()
    document = {"Version": "2012-10-17", "Statement": [_allow("ec2:DescribeInstances")]}
    s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=json.dumps(document))
    node.describe_instances()


def expired_credentials_are_refused(server: Any) -> Iterator[None]:
    """ "Error codes": RequestExpired."""
    s = Scene(server)
    instance, _ = s.as_node(EVERYTHING)
    credentials = server.post("role-credentials", {"instance": instance["InstanceId"], "seconds": 0})
    yield
    with refused("RequestExpired"):
        server.client("ec2", credentials).describe_instances()


def an_attached_policy_is_not_deleted(server: Any) -> Iterator[None]:
    """IAM, DeletePolicy: DeleteConflict."""
    s = Scene(server)
    document = json.dumps({"Version": "2012-10-17", "Statement": [EVERYTHING]})
    policy = s.iam.create_policy(PolicyName=s.name, PolicyDocument=document)["Policy"]["Arn"]
    s.iam.create_role(RoleName=s.name, AssumeRolePolicyDocument=TRUST)
    s.iam.attach_role_policy(RoleName=s.name, PolicyArn=policy)
    yield
    with refused("DeleteConflict", 409):
        s.iam.delete_policy(PolicyArn=policy)
    s.iam.detach_role_policy(RoleName=s.name, PolicyArn=policy)
    s.iam.delete_policy(PolicyArn=policy)


def a_role_is_limited_on_iam_too(server: Any) -> Iterator[None]:
    """IAM: resources are ARNs of roles; AccessDenied, 403."""
    s = Scene(server)
    instance, _ = s.as_node(_allow("iam:GetRole", resource=f"arn:aws:iam::*:role/{s.name}"))
    credentials = server.post("role-credentials", {"instance": instance["InstanceId"]})
    iam = server.client("iam", credentials)
    yield
    assert iam.get_role(RoleName=s.name)["Role"]["RoleName"] == s.name
    with refused(
        "AccessDenied", 403, says="role/app-role because no identity-based policy allows the iam:GetRole action"
    ):
        iam.get_role(RoleName="app-role")


def a_roles_name_has_64_characters_at_most(server: Any) -> Iterator[None]:
    """IAM, CreateRole, RoleName."""
    s = Scene(server)
    s.iam.create_role(RoleName="x" * 63 + str(s.number % 10), AssumeRolePolicyDocument=TRUST)
    yield
    with refused("ValidationError", says="less than or equal to 64"):
        s.iam.create_role(RoleName="x" * 65, AssumeRolePolicyDocument=TRUST)


def a_roles_policies_have_10240_characters_at_most(server: Any) -> Iterator[None]:
    """IAM User Guide, "IAM and AWS STS quotas"."""
    s = Scene(server)
    s.iam.create_role(RoleName=s.name, AssumeRolePolicyDocument=TRUST)
    tables = [f"arn:aws:ec2:eu-west-1:123456789012:route-table/rtb-{n:017x}" for n in range(200)]
    document = {"Version": "2012-10-17", "Statement": [_allow("ec2:CreateRoute", resource=tables)]}
    yield
    with refused("LimitExceeded", 409):
        s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=json.dumps(document))


def an_instance_profiles_id_has_the_prefix_aipa(server: Any) -> Iterator[None]:
    """IAM User Guide, "IAM identifiers"."""
    s = Scene(server)
    yield
    made = s.iam.create_instance_profile(InstanceProfileName=s.name)["InstanceProfile"]
    assert made["InstanceProfileId"].startswith("AIPA")


def _as_iam(s: Scene, *statements: dict[str, Any]) -> Any:
    """An IAM client of a role with these statements."""
    instance, _ = s.as_node(*statements)
    return s.server.client("iam", s.server.post("role-credentials", {"instance": instance["InstanceId"]}))


def a_path_is_part_of_what_is_created(server: Any) -> Iterator[None]:
    """IAM, CreateRole, CreateInstanceProfile: the ARN has the path."""
    s = Scene(server)
    below = [f"arn:aws:iam::*:{kind}/elbow/*" for kind in ("role", "instance-profile")]
    calls = ("iam:CreateRole", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile")
    iam = _as_iam(s, _allow(*calls, resource=below))
    name = f"{s.name}-made"
    role = {"RoleName": name, "AssumeRolePolicyDocument": TRUST}
    yield
    for call, given in ((iam.create_role, role), (iam.create_instance_profile, {"InstanceProfileName": name})):
        with refused("AccessDenied", 403):
            call(**given)
        call(**given, Path="/elbow/")
    iam.delete_instance_profile(InstanceProfileName=name)


def rights_can_be_tied_to_a_boundary(server: Any) -> Iterator[None]:
    """iam:PermissionsBoundary: the boundary in CreateRole's request, later the role's own."""
    s = Scene(server)
    boundary = f"arn:aws:iam::{server.seed['account']}:policy/Boundary"
    calls = ("iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary")
    iam = _as_iam(s, _allow(*calls, StringEquals={"iam:PermissionsBoundary": boundary}))
    name = f"{s.name}-made"
    role = {"RoleName": name, "AssumeRolePolicyDocument": TRUST}
    s.iam.create_role(RoleName=f"{name}-free", AssumeRolePolicyDocument=TRUST)
    policy = {
        "PolicyName": "it",
        "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [_allow("ec2:DescribeInstances")]}),
    }
    yield
    with refused("AccessDenied", 403):
        iam.create_role(**role)
    iam.create_role(**role, PermissionsBoundary=boundary)
    iam.put_role_policy(RoleName=name, **policy)
    with refused("AccessDenied", 403):
        iam.put_role_policy(RoleName=f"{name}-free", **policy)
    with refused("AccessDenied", 403):
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=f"{boundary}-other")
    iam.put_role_permissions_boundary(RoleName=f"{name}-free", PermissionsBoundary=boundary)


def a_role_is_put_into_a_profile_for_ec2(server: Any) -> Iterator[None]:
    """AddRoleToInstanceProfile needs iam:PassRole, with iam:PassedToService."""
    s = Scene(server)
    profile = f"{s.name}-made"
    s.iam.create_instance_profile(InstanceProfileName=profile)
    add = _allow("iam:AddRoleToInstanceProfile")
    iam = _as_iam(s, add, _allow("iam:PassRole", StringEquals={"iam:PassedToService": "lambda.amazonaws.com"}))
    given = {"InstanceProfileName": profile, "RoleName": s.name}
    yield
    with refused("AccessDenied", 403, says="iam:PassRole"):
        iam.add_role_to_instance_profile(**given)
    passed = _allow("iam:PassRole", StringEquals={"iam:PassedToService": "ec2.amazonaws.com"})
    document = json.dumps({"Version": "2012-10-17", "Statement": [add, passed]})
    s.iam.put_role_policy(RoleName=s.name, PolicyName="it", PolicyDocument=document)
    iam.add_role_to_instance_profile(**given)
