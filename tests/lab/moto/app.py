"""The WSGI application: the AWS API, and the lab's control paths, which need no authentication. The proxy hides them.

    GET  /lab/ready                                      200 once calls are answered
    GET  /lab/world                                      see world.py
    GET  /lab/generation                                 the world's generation, after all due work is done
    POST /lab/seed                                       creates the fixture of seed.py once; answers its IDs
    POST /lab/stale {"ms": 500}                          see stale.py
    POST /lab/shutting-down {"ms": 200}                  how long instances shut down before they are terminated
    POST /lab/auto-scaling {"health_ms": 1000}           how often Auto Scaling checks the health of instances
    POST /lab/auto-scaling {"skip_ms": 30000}            advances Auto Scaling's clock
    POST /lab/lifecycle-actions {"instance": "i-…"}      the hooks at which it waits, with their notification tokens
    POST /lab/role-credentials {"instance": "i-…"}       credentials for IMDS; {"seconds": N} is their lifetime (6 h)
    POST /lab/systems {}                                 an instance is stopping until /lab/stopped names it
    POST /lab/stopped {"instance": "i-…"}                its system has shut down
    POST /lab/console {"instance": "i-…", "text": "…"}   what GetConsoleOutput answers
    POST /lab/launched {"instance": "i-…", "ago": 900}   moves its launch into the past, by seconds
    POST /lab/route-tables {"count": 20}                 adds tagged tables to the lab's VPC; answers their IDs
    POST /lab/foreign-bucket {"name": "…"}               a bucket that belongs to another account

An error is `{"error": "one line"}` with a status of 4xx.
"""

import datetime
import json
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

import console
import credentials
import instrument
import patches
import seed
import stale
import world
from constants import REGION
from patches import authorization, termination
from patches.auto_scaling import model, reconcile


def build(patched: bool) -> Callable[..., Iterable[bytes]]:
    """The application, with moto patched or unpatched."""
    instrument.install()
    stale.install()
    console.install()
    if patched:
        patches.install()
    aws = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/lab/"):
            status, body = _control(environ["REQUEST_METHOD"], path, environ)
            text = json.dumps(body).encode()
            start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
            return [text]
        if path.startswith(("/moto-api", "/latest")):
            # moto's own control paths and metadata, which AWS doesn't have here.
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        if patched:
            authorization.keep_body(environ)
        with instrument.LOCK:
            _settle()
            return aws(environ, start_response)

    return application


def load(application: Callable[..., Iterable[bytes]]) -> None:
    """Loads what moto loads at the first call to each service, so that copies of this process have it."""
    client = Client(application)
    for service, action in (
        ("autoscaling", "DescribeAutoScalingGroups"),
        ("ec2", "DescribeRegions"),
        ("iam", "GetUser"),
        ("ssm", "GetParameter"),
        ("sts", "GetCallerIdentity"),
    ):
        key = f"AWS4-HMAC-SHA256 Credential=none/20200101/{REGION}/{service}/aws4_request"
        headers = {"Authorization": key, "X-Amz-Target": f"Amazon{service.upper()}.{action}"}
        client.post("/", headers=headers, data={"Action": action})


def _settle() -> None:
    """Does all due work: moto does nothing between calls."""
    termination.settle()
    reconcile.settle()


def _control(method: str, path: str, environ: dict[str, Any]) -> tuple[str, Any]:
    handler = HANDLERS.get((method, path.removeprefix("/lab/")))
    if handler is None:
        return "404 Not Found", {"error": f"the lab has no {method} {path}"}
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        request = json.loads(environ["wsgi.input"].read(length) or b"{}")
        with instrument.LOCK:
            _settle()
            return "200 OK", handler(request)
    except (KeyError, LookupError, TypeError, ValueError) as error:
        return "400 Bad Request", {"error": f"{type(error).__name__}: {error}"}


def _stale(request: dict[str, Any]) -> dict[str, Any]:
    stale.set_delay(int(request["ms"]))
    return {}


def _shutting_down(request: dict[str, Any]) -> dict[str, Any]:
    termination.set_duration(int(request["ms"]))
    return {}


def _systems(_: dict[str, Any]) -> dict[str, Any]:
    termination.wait_for_word()
    return {}


def _stopped(request: dict[str, Any]) -> dict[str, Any]:
    termination.stopped(request["instance"])
    return {}


def _auto_scaling(request: dict[str, Any]) -> dict[str, Any]:
    if "health_ms" in request:
        reconcile.set_health_interval(int(request["health_ms"]))
    model.skip(int(request.get("skip_ms", 0)) / 1000)
    return {}


def _lifecycle_actions(request: dict[str, Any]) -> dict[str, Any]:
    found = model.store().member(request["instance"])
    if found is None:
        raise LookupError(f"{request['instance']}: not in an Auto Scaling group")
    return {"actions": [{"hook": pause.hook, "token": pause.token} for pause in found[1].pauses]}


def _launched(request: dict[str, Any]) -> dict[str, Any]:
    instance = instrument.ec2().get_instance(request["instance"])
    instance.launch_time -= datetime.timedelta(seconds=int(request["ago"]))
    instrument.changed()
    return {}


def _console(request: dict[str, Any]) -> dict[str, Any]:
    console.write(request["instance"], request["text"])
    return {}


HANDLERS: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("GET", "ready"): lambda _: {"ready": True},
    ("GET", "world"): lambda _: world.world(),
    ("GET", "generation"): lambda _: {"generation": instrument.generation()},
    ("POST", "seed"): lambda _: seed.seed(),
    ("POST", "stale"): _stale,
    ("POST", "shutting-down"): _shutting_down,
    ("POST", "systems"): _systems,
    ("POST", "stopped"): _stopped,
    ("POST", "auto-scaling"): _auto_scaling,
    ("POST", "lifecycle-actions"): _lifecycle_actions,
    ("POST", "role-credentials"): lambda r: credentials.of_instance(r["instance"], int(r.get("seconds", 6 * 3600))),
    ("POST", "console"): _console,
    ("POST", "launched"): _launched,
    ("POST", "route-tables"): lambda r: seed.more_route_tables(int(r["count"])),
    ("POST", "foreign-bucket"): lambda r: seed.foreign_bucket(r["name"]),
}
