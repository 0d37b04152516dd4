"""What every probe needs: IMDS, signed EC2 calls, results as tags of its own instance, the install step.

`prove` puts a line with SETTING before this file and a role's file after it, and starts the whole as user-data. It
uses Python's standard library only, and starts by itself: nothing connects to the instance from outside.
"""

import asyncio
import base64
import collections
import datetime
import hashlib
import hmac
import http.client
import json
import re
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
import uuid
import zlib

# The instance ends by itself if `prove` was killed and can't remove it.
LIFETIME = 30 * 60
ECHO = 8091
MARK = b"elbow-prove:"


def imds(path, method="GET", headers=None):
    """The text at a path of IMDSv2; None if there is none."""
    connection = http.client.HTTPConnection("169.254.169.254", timeout=5)
    try:
        connection.request(method, f"/latest/{path}", headers=headers or {"X-aws-ec2-metadata-token": token()})
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else None
    finally:
        connection.close()


TOKEN = []


def token():
    if not TOKEN:
        TOKEN.append(imds("api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}))
    return TOKEN[0]


class Ec2:
    """EC2's Query API over one kept connection, signed with the instance's role (Signature Version 4)."""

    def __init__(self):
        self.region = imds("meta-data/placement/region")
        self.host = f"ec2.{self.region}.{imds('meta-data/services/domain')}"
        self.connection = None
        self.keys, self.keys_until = None, 0

    def call(self, action, parameters):
        """The answer's text; an error with AWS's code otherwise."""
        body = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15", **parameters})
        body = body.replace("+", "%20")
        try:
            status, text = self.send(body)
        except (OSError, http.client.HTTPException):
            # An idle connection is closed by the other side.
            self.connection = None
            status, text = self.send(body)
        if status != 200:
            code, message = (re.search(f"<{name}>(.*?)</{name}>", text, re.S) for name in ("Code", "Message"))
            raise RuntimeError(f"{action}: {code and code[1]}: {message and message[1]}")
        return text

    def send(self, body):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, timeout=30)
        self.connection.request("POST", "/", body, self.signed(body))
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def credentials(self):
        """Kept for five minutes, so that a measured call doesn't wait for IMDS."""
        if time.monotonic() > self.keys_until:
            role = imds("meta-data/iam/security-credentials/").strip()
            self.keys = json.loads(imds(f"meta-data/iam/security-credentials/{role}"))
            self.keys_until = time.monotonic() + 300
        return self.keys

    def signed(self, body):
        keys = self.credentials()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "host": self.host,
            "x-amz-date": now,
            "x-amz-security-token": keys["Token"],
        }
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body.encode()).hexdigest()}"
        scope = f"{now[:8]}/{self.region}/ec2/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = ("AWS4" + keys["SecretAccessKey"]).encode()
        for part in (now[:8], self.region, "ec2", "aws4_request", text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        )
        return headers


def patiently(call, seconds=120):
    """Repeats a call that fails: a new role and its policy take a while to be known everywhere."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception:
            if time.monotonic() >= end:
                raise
            time.sleep(1)


def tag(ec2, tags):
    named = {"ResourceId.1": imds("meta-data/instance-id")}
    for index, (key, value) in enumerate(tags.items(), 1):
        named[f"Tag.{index}.Key"], named[f"Tag.{index}.Value"] = key, value
    ec2.call("CreateTags", named)


def report(ec2, name, result):
    """Writes a result into tags `prove.<name>.<index>.<count>`: a tag holds 256 characters."""
    print(f"prove: {name}: {json.dumps(result)[:500]}", flush=True)
    text = base64.b64encode(zlib.compress(json.dumps(result).encode(), 9)).decode()
    chunks = [text[at : at + 256] for at in range(0, len(text), 256)]
    tags = {f"prove.{name}.{index}.{len(chunks)}": chunk for index, chunk in enumerate(chunks)}
    patiently(lambda: tag(ec2, tags))


def attempt(ec2, name, experiment):
    """Runs an experiment and reports its result, or its error."""
    try:
        result = experiment()
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"[:600]}
    report(ec2, name, result)


def install():
    """Installs what a node needs, as Elbow's install step does; the system, the time and the versions."""
    packages = ["haproxy", "keepalived", "rsyslog", "logrotate", "nftables"]
    quiet = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120"
    if shutil.which("dnf"):
        command = f"dnf -q -y install {' '.join(packages)}"
    else:
        command = f"apt-get -q update && {quiet} install {' '.join(packages)}"
    begin = time.monotonic()
    while True:
        done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        if done.returncode == 0:
            break
        # The system's own updates may hold the lock, as at a node's first boot; Elbow's install step repeats it, too.
        if time.monotonic() > begin + 240:
            said = done.stdout.decode(errors="replace")[-300:]
            raise RuntimeError(f"{command}: exit {done.returncode}: {said}")
        time.sleep(3)
    seconds = time.monotonic() - begin
    return {**system(), "seconds": round(seconds, 1), **{name: version(name) for name in packages[:2]}}


def system():
    """This system's name and version, from os-release(5)."""
    fields = {}
    with open("/etc/os-release") as lines:
        for line in lines:
            key, _, value = line.strip().partition("=")
            fields[key] = value.strip('"')
    return {"system": fields.get("ID"), "release": fields.get("VERSION_ID")}


def version(program):
    done = subprocess.run([program, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    found = re.search(r"v?(\d+\.\d+[.\d]*)", done.stdout.decode(errors="replace"))
    return found[1] if found else None


def live_a_while():
    timer = threading.Timer(LIFETIME, lambda: subprocess.run(["systemctl", "poweroff"]))
    timer.daemon = True
    timer.start()
