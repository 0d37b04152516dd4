"""The server's control paths for the lab (app.py)."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cases.scaling import Scaling
from cases.scene import TRUST, Scene


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def _states(server: Any) -> dict[str, str]:
    return {i["id"]: i["state"] for i in server.world()["instances"]}


def test_describe_calls_can_see_the_past(patched: Any) -> None:
    s = Scene(patched)
    instance = s.run()[0]
    delay = 0.6
    patched.post("stale", {"ms": int(delay * 1000)})
    try:
        changed = time.monotonic()
        s.ec2.create_route(**s.route_to(s.interface(instance)))
        seen_at_once = s.routes()
        world_at_once = next(t for t in patched.world()["route_tables"] if t["id"] == s.table)
        while "10.255.0.10/32" not in s.routes():
            assert time.monotonic() < changed + 10 * delay
        took = time.monotonic() - changed
    finally:
        patched.post("stale", {"ms": 0})
    assert "10.255.0.10/32" not in seen_at_once
    assert any(r["destination"] == "10.255.0.10/32" for r in world_at_once["routes"])
    assert took >= delay


def test_changes_while_describe_calls_see_the_past_arent_lost(patched: Any) -> None:
    s = Scene(patched)
    patched.post("stale", {"ms": 60000})
    try:
        instance = s.run()[0]["InstanceId"]
        s.ec2.terminate_instances(InstanceIds=[instance])
        _wait(lambda: _states(patched)[instance] == "terminated")
        s.run(PrivateIpAddress="10.50.1.4")
    finally:
        patched.post("stale", {"ms": 0})
    assert s.instance(instance)["State"]["Name"] == "terminated"


def test_auto_scalings_describe_calls_can_see_the_past_too(patched: Any) -> None:
    s = Scaling(patched)
    patched.post("stale", {"ms": 60000})
    try:
        s.make(MinSize=1, MaxSize=1)
        named = {"AutoScalingGroupNames": [s.name]}
        seen = s.scaling.describe_auto_scaling_groups(**named)["AutoScalingGroups"]
    finally:
        patched.post("stale", {"ms": 0})
    assert seen == []
    s.settled(1)


def test_the_lab_sets_how_often_auto_scaling_checks_health(patched: Any) -> None:
    s = Scaling(patched)
    s.make(MinSize=1, MaxSize=1)
    lost = s.settled(1)[0]
    patched.post("auto-scaling", {"health_ms": 3600000})
    try:
        s.ec2.terminate_instances(InstanceIds=[lost])
        _wait(lambda: _states(patched)[lost] == "terminated")
        assert s.members("InService") == [lost]
        s.skip(3600)
        s.until(lambda: lost not in s.members())
    finally:
        patched.post("auto-scaling", {"health_ms": 1000})
    s.settled(1, without=(lost,))


def test_the_lab_sets_the_console_output(patched: Any) -> None:
    s = Scene(patched)
    instance = s.run()[0]["InstanceId"]
    assert "Output" not in s.ec2.get_console_output(InstanceId=instance)
    patched.post("console", {"instance": instance, "text": "elbow: checksum is wrong: grüße\n"})
    assert s.ec2.get_console_output(InstanceId=instance)["Output"] == "elbow: checksum is wrong: grüße\n"


def test_a_role_that_doesnt_trust_ec2_gives_no_credentials(patched: Any) -> None:
    s = Scene(patched)
    profile = s.profile()
    trust = TRUST.replace("ec2.amazonaws.com", "lambda.amazonaws.com")
    s.iam.update_assume_role_policy(RoleName=profile, PolicyDocument=trust)
    instance = s.run(IamInstanceProfile={"Name": profile})[0]["InstanceId"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        patched.post("role-credentials", {"instance": instance})
    assert refused.value.code == 400
    assert b"doesn't trust ec2.amazonaws.com" in refused.value.read()


def _at_rest(server: Any) -> int:
    """The generation, once the work of earlier cases has ended."""
    for _ in range(20):
        generation = server.world()["generation"]
        time.sleep(0.5)
        if server.world()["generation"] == generation:
            return int(generation)
    raise AssertionError("the world keeps changing without calls")


def test_the_generation_counts_changes_only(patched: Any) -> None:
    s = Scene(patched)
    before = _at_rest(patched)
    s.ec2.describe_instances()
    with pytest.raises(Exception, match=r"InvalidGroup\.NotFound"):
        s.ec2.delete_security_group(GroupId="sg-0123456789abcdef0")
    assert patched.world()["generation"] == before
    s.group()
    assert patched.world()["generation"] == before + 1


def test_more_route_tables_can_be_created_at_once(patched: Any) -> None:
    made = patched.post("route-tables", {"count": 3})
    tables = {t["id"]: t for t in patched.world()["route_tables"]}
    assert len({tables[i]["tags"]["Name"] for i in made}) == 3
    assert all(tables[i]["vpc"] == patched.seed["vpc"] for i in made)


def test_calls_at_the_same_moment_dont_disturb_each_other(patched: Any) -> None:
    s = Scene(patched)
    with ThreadPoolExecutor(24) as pool:
        launched = list(pool.map(lambda _: s.run()[0], range(48)))
        tables = list(
            pool.map(lambda _: s.ec2.create_route_table(VpcId=s.vpc)["RouteTable"]["RouteTableId"], range(48))
        )
        pairs = list(zip(tables, launched, strict=True))
        list(pool.map(lambda p: s.ec2.create_route(**{**s.route_to(s.interface(p[1])), "RouteTableId": p[0]}), pairs))
        list(pool.map(lambda i: s.ec2.terminate_instances(InstanceIds=[i["InstanceId"]]), launched[::2]))
    assert len({i["PrivateIpAddress"] for i in launched}) == 48
    _wait(lambda: [_states(patched)[i["InstanceId"]] for i in launched] == ["terminated", "running"] * 24)
    world = patched.world()
    routes = {t["id"]: r for t in world["route_tables"] for r in t["routes"] if r["destination"] == "10.255.0.10/32"}
    assert [routes[t]["state"] for t in tables] == ["blackhole", "active"] * 24
    assert [routes[t]["interface"] for t in tables] == [s.interface(i) for i in launched]


def test_the_fixture_has_resources_that_arent_elbows(patched: Any) -> None:
    seed = patched.seed
    ec2 = patched.client("ec2")
    tables = ec2.describe_route_tables(
        Filters=[{"Name": "association.gateway-id", "Values": [seed["internet_gateway"]]}]
    )
    assert [t["RouteTableId"] for t in tables["RouteTables"]] == [seed["route_tables"]["gateway"]]
    shared = ec2.describe_subnets(SubnetIds=[seed["subnets"]["shared"]])["Subnets"][0]
    assert shared["OwnerId"] != seed["account"]
    names = {
        a["Key"]: a["Value"]
        for a in ec2.describe_security_groups(GroupIds=[seed["others"]["security_group"]])["SecurityGroups"][0]["Tags"]
    }
    assert names == {"Name": "database"}
    main = next(t for t in patched.world()["route_tables"] if t["id"] == seed["route_tables"]["main"])
    assert main["main"] and main["tags"] == {}


@pytest.mark.parametrize("path", ["/moto-api/data.json", "/moto-api/reset", "/latest/meta-data/"])
def test_motos_own_paths_are_hidden(patched: Any, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(patched.url + path)
    assert refused.value.code == 404
