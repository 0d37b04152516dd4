"""The calls by which the launcher's doctor looks for problems. Pages are named in patches/simulation.py and
connections.py."""

from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused

_ROLE = "arn:aws:iam::123456789012:role/elbow-web"


def a_simulation_decides_by_the_policies_of_the_role(server: Any) -> Iterator[None]:
    """SimulatePrincipalPolicy: an allow, an explicit deny, and what no policy mentions."""
    s = Scene(server)
    s.profile(
        {"Effect": "Allow", "Action": "iam:*Role", "Resource": "arn:aws:iam::*:role/elbow-*"},
        {"Effect": "Deny", "Action": "iam:TagRole", "Resource": "*"},
    )
    role = s.iam.get_role(RoleName=s.name)["Role"]["Arn"]
    yield
    actions = ["iam:CreateRole", "iam:TagRole", "iam:CreateUser"]
    asked = {"PolicySourceArn": role, "ActionNames": actions}
    results = s.iam.simulate_principal_policy(**asked, ResourceArns=[_ROLE])["EvaluationResults"]
    decisions = [result["EvalDecision"] for result in results]
    assert [result["EvalActionName"] for result in results] == actions
    assert decisions == ["allowed", "explicitDeny", "implicitDeny"]
    other = s.iam.simulate_principal_policy(**asked, ResourceArns=[_ROLE.replace("elbow-", "other-")])
    assert other["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"
    with refused("NoSuchEntity", 404):
        s.iam.simulate_principal_policy(**{**asked, "PolicySourceArn": f"{role}-gone"})


def a_simulation_knows_the_context_of_the_request(server: Any) -> Iterator[None]:
    """SimulatePrincipalPolicy: ContextEntries."""
    s = Scene(server)
    to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    s.profile({"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": to_ec2})
    role = s.iam.get_role(RoleName=s.name)["Role"]["Arn"]
    asked = {"PolicySourceArn": role, "ActionNames": ["iam:PassRole"], "ResourceArns": [_ROLE]}
    yield
    for service, decision in (("ec2.amazonaws.com", "allowed"), ("lambda.amazonaws.com", "implicitDeny")):
        entry = {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyValues": [service],
            "ContextKeyType": "string",
        }
        results = s.iam.simulate_principal_policy(**asked, ContextEntries=[entry])["EvaluationResults"]
        assert results[0]["EvalDecision"] == decision


def peerings_are_found_by_their_vpcs_and_their_state(server: Any) -> Iterator[None]:
    """DescribeVpcPeeringConnections: requester-vpc-info.vpc-id, accepter-vpc-info.vpc-id, status-code."""
    s = Scene(server)
    peer = s.ec2.create_vpc(CidrBlock="10.51.0.0/16")["Vpc"]["VpcId"]
    asked = s.ec2.create_vpc_peering_connection(VpcId=s.vpc, PeerVpcId=peer)["VpcPeeringConnection"]
    peering = asked["VpcPeeringConnectionId"]

    def found(**values: str) -> list[str]:
        names = {"asks": "requester-vpc-info.vpc-id", "accepts": "accepter-vpc-info.vpc-id", "state": "status-code"}
        wanted = [{"Name": names[name], "Values": [value]} for name, value in values.items()]
        answer = s.ec2.describe_vpc_peering_connections(Filters=wanted)
        return [one["VpcPeeringConnectionId"] for one in answer["VpcPeeringConnections"]]

    yield
    assert found(asks=s.vpc) == [peering]
    assert found(asks=peer) == []
    assert found(accepts=peer) == [peering]
    assert found(asks=s.vpc, state="active") == []
    s.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert found(asks=s.vpc, state="active") == [peering]
