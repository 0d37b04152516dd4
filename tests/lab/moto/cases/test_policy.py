"""Tests of the pure IAM decisions (patches/policy.py)."""

import json
from pathlib import Path
from typing import Any

import pytest

from patches.policy import Decision, decide

TABLE = "arn:aws:ec2:eu-west-1:123456789012:route-table/rtb-1"


def _decide(
    statement: dict[str, Any], context: dict[str, list[str]] | None = None, action: str = "ec2:CreateRoute"
) -> Decision:
    whole = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", **statement}
    return decide([json.dumps({"Statement": whole})], action, TABLE, context or {})


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringEquals": {"k": "v"}}, {}, False),
        ({"StringEquals": {"k": "v"}}, {"k": ["v"]}, True),
        ({"StringEquals": {"K": "v"}}, {"k": ["v"]}, True),
        ({"StringEquals": {"k": ["a", "v"]}}, {"k": ["v"]}, True),
        ({"StringEquals": {"k": "v*"}}, {"k": ["v1"]}, False),
        ({"StringLike": {"k": "v*"}}, {"k": ["v1"]}, True),
        ({"StringNotEquals": {"k": "v"}}, {}, True),
        ({"StringNotEquals": {"k": "v"}}, {"k": ["v"]}, False),
        ({"StringEqualsIfExists": {"k": "v"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "v"}}, {"k": ["w"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["a", "c"]}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {}, False),
        ({"Null": {"k": "false"}}, {}, False),
        ({"Null": {"k": "true"}}, {}, True),
        ({"ArnLike": {"k": "arn:aws:ec2:*:*:vpc/v-1"}}, {"k": ["arn:aws:ec2:r:a:vpc/v-1"]}, True),
        ({"ArnLike": {"k": "arn:*"}}, {"k": ["arn:aws:ec2:r:a:vpc/v-1"]}, False),
        ({"Bool": {"k": True}}, {"k": ["true"]}, True),
        ({"StringEquals": {"k": "${j}"}}, {"k": ["v"], "j": ["v"]}, True),
        ({"StringEquals": {"k": "v"}, "Bool": {"j": "true"}}, {"k": ["v"]}, False),
    ],
)
def test_a_condition(condition: dict[str, Any], context: dict[str, list[str]], allowed: bool) -> None:
    assert (_decide({"Condition": condition}, context) is Decision.ALLOW) == allowed


@pytest.mark.parametrize(
    ("statement", "decision"),
    [
        ({"Action": "EC2:createroute"}, Decision.ALLOW),
        ({"Action": "ec2:Replace*"}, Decision.SILENT),
        ({"Action": None, "NotAction": "iam:*"}, Decision.ALLOW),
        ({"Resource": "arn:aws:ec2:*:*:route-table/*"}, Decision.ALLOW),
        ({"Resource": TABLE.upper()}, Decision.SILENT),
        ({"Resource": None, "NotResource": TABLE}, Decision.SILENT),
        ({"Effect": "Deny"}, Decision.DENY),
    ],
)
def test_a_statement(statement: dict[str, Any], decision: Decision) -> None:
    whole = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", **statement}
    document = json.dumps({"Statement": [{k: v for k, v in whole.items() if v is not None}]})
    assert decide([document], "ec2:CreateRoute", TABLE, {}) is decision


def test_a_deny_wins_over_an_allow_in_another_policy() -> None:
    allow, deny = (json.dumps({"Statement": {"Effect": e, "Action": "*", "Resource": "*"}}) for e in ("Allow", "Deny"))
    assert decide([allow, deny], "ec2:CreateRoute", TABLE, {}) is Decision.DENY
    assert decide([deny, allow], "ec2:CreateRoute", TABLE, {}) is Decision.DENY


def test_an_unknown_operator_allows_nothing() -> None:
    with pytest.raises(NotImplementedError):
        _decide({"Condition": {"DateLessThan": {"k": "v"}}}, {"k": ["v"]})


@pytest.mark.parametrize(
    ("principal", "keys", "action", "tagged", "decision"),
    [
        ("user/dev", ["elbow:balancer"], "ec2:CreateTags", False, Decision.DENY),
        ("role/dev", ["Name", "elbow:drain"], "ec2:CreateTags", True, Decision.DENY),
        ("role/dev", ["elbow:revision"], "ec2:DeleteTags", True, Decision.DENY),
        ("role/dev", ["Name", "elbows"], "ec2:CreateTags", True, Decision.ALLOW),
        ("role/dev", None, "ec2:DeleteTags", True, Decision.DENY),
        ("role/dev", None, "ec2:DeleteTags", False, Decision.ALLOW),
        ("role/LAUNCHER", ["elbow:balancer"], "ec2:CreateTags", True, Decision.ALLOW),
        ("role/elbow-eu-west-1-web", ["elbow:role"], "ec2:CreateTags", True, Decision.ALLOW),
        ("user/elbow-eu-west-1-web", ["elbow:role"], "ec2:CreateTags", True, Decision.DENY),
    ],
)
def test_the_policy_of_the_docs_reserves_elbows_tags(
    principal: str, keys: list[str] | None, action: str, tagged: bool, decision: Decision
) -> None:
    docs = (Path(__file__).parents[4] / "docs/security.md").read_text()
    reserve = docs.split("```json\n")[1].split("```")[0]
    allow = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    context = {"aws:principalarn": [f"arn:aws:iam::123456789012:{principal}"]}
    if keys is not None:
        context["aws:tagkeys"] = keys
    if tagged:
        context["aws:resourcetag/elbow:balancer"] = ["web"]
    assert decide([allow, reserve], action, TABLE, context) is decision
