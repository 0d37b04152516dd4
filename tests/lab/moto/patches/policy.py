"""IAM's decision about one action on one resource, from policy documents. Pure.

IAM User Guide, "Policy evaluation logic" (an explicit deny wins, then an allow, else denied), "IAM JSON policy
elements: Condition operators", "Single-valued vs. multivalued context keys", "Policy elements: variables and tags".
"""

import enum
import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Context = dict[str, list[str]]


class Decision(enum.Enum):
    """The result of the policies."""

    ALLOW = "allow"
    DENY = "explicit deny"
    SILENT = "no policy allows it"


def decide(documents: Iterable[str], action: str, resource: str, context: Context) -> Decision:
    """Decides over all of a caller's policies. Context keys are in lower case, because IAM ignores their case."""
    decision = Decision.SILENT
    for document in documents:
        for statement in _statements(document):
            if _applies(statement, action, resource, context):
                if statement["Effect"] == "Deny":
                    return Decision.DENY
                decision = Decision.ALLOW
    return decision


@functools.lru_cache(maxsize=256)
def _statements(document: str) -> list[dict[str, Any]]:
    return _list(json.loads(document)["Statement"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@functools.lru_cache(maxsize=4096)
def _wild(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    text = "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _applies(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    positive = "Action" in statement
    actions = _list(statement["Action" if positive else "NotAction"])
    if any(_wild(a, True).fullmatch(action) for a in actions) != positive:
        return False
    positive = "Resource" in statement
    resources = _list(statement["Resource" if positive else "NotResource"])
    if any(_wild(_filled(r, context)).fullmatch(resource) for r in resources) != positive:
        return False
    return all(
        _condition(operator, key, _list(values), context)
        for operator, tests in statement.get("Condition", {}).items()
        for key, values in tests.items()
    )


def _filled(text: str, context: Context) -> str:
    """Replaces policy variables. A variable without a value matches nothing."""
    return re.sub(r"\$\{([^}]+)\}", lambda m: next(iter(context.get(m[1].lower(), [])), "\0"), text)


def _condition(operator: str, key: str, wanted: list[Any], context: Context) -> bool:
    qualifier, _, bare = operator.rpartition(":")
    base = bare.removesuffix("IfExists")
    present = context.get(key.lower())
    expected = [str(w).lower() if isinstance(w, bool) else _filled(str(w), context) for w in wanted]
    if base == "Null":
        return any((e == "true") == (present is None) for e in expected)
    if base not in _OPERATORS:
        raise NotImplementedError(f"the condition operator {operator}")
    test, negated = _OPERATORS[base]
    if present is None:
        return base != bare or negated or qualifier == "ForAllValues"

    def holds(value: str) -> bool:
        return any(test(value, e) for e in expected) != negated

    return all(map(holds, present)) if qualifier == "ForAllValues" else any(map(holds, present))


def _like(value: str, pattern: str) -> bool:
    return _wild(pattern).fullmatch(value) is not None


def _arn(value: str, pattern: str) -> bool:
    """Compares part by part: a wildcard doesn't match the first five colons."""
    values, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(values) == len(patterns) and all(map(_like, values, patterns))


def _in_network(value: str, network: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)


# For each operator: the test of a value against an expected one, and whether the operator negates it.
_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (str.__eq__, False),
    "StringNotEquals": (str.__eq__, True),
    "StringEqualsIgnoreCase": (lambda v, e: v.lower() == e.lower(), False),
    "StringNotEqualsIgnoreCase": (lambda v, e: v.lower() == e.lower(), True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
    "Bool": (lambda v, e: v.lower() == e.lower(), False),
    "NumericEquals": (lambda v, e: float(v) == float(e), False),
    "NumericLessThan": (lambda v, e: float(v) < float(e), False),
    "NumericLessThanEquals": (lambda v, e: float(v) <= float(e), False),
    "NumericGreaterThan": (lambda v, e: float(v) > float(e), False),
    "NumericGreaterThanEquals": (lambda v, e: float(v) >= float(e), False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
}
