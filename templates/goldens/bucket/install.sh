#!/bin/sh
# Makes this machine a node of the Elbow balancer web: installs missing packages, fetches the agent, verifies it and
# starts it. cloud-init runs this once; another run changes nothing.
set -eu

case $(uname -m) in
    x86_64) sha256='a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1' ;;
    aarch64) sha256='b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2' ;;
    *) sha256= ;;
esac
# Without a name, the bucket is elbow-ACCOUNT-REGION.
bucket=''
key="agent/$sha256"
shown="agent/$sha256 in Elbow's bucket"
agent='/opt/elbow/agent'
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

# cloud-init writes this to its log, and on most images to the console.
say() {
    echo "elbow: $*"
}

# Writes to the console in any case: an operator can read only that from outside.
shout() {
    say "$*"
    { echo "elbow: $*" >/dev/console; } 2>/dev/null || :
}

fail() {
    shout "$*"
    ended=yes
    exit 1
}

# Reports every early end on the console.
scratch=
policy=
ended=no
clean_up() {
    status=$?
    rm -f -- ${scratch:+"$scratch"} ${policy:+"$policy"}
    [ "$ended" = yes ] || shout "the install step failed with status $status: this node doesn't serve; see /var/log/cloud-init-output.log"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# retry WHAT COMMAND…: about four minutes of tries, as a package mirror, a NAT gateway or DNS may be late.
retry() {
    what=$1
    shift
    pause=2
    for try in 1 2 3 4 5 6 7 8 9 10; do
        status=0
        "$@" || status=$?
        [ "$status" -eq 0 ] && return 0
        [ "$try" -eq 10 ] && break
        shout "$what: try $try of 10 failed with status $status, next in $pause s"
        sleep "$pause"
        pause=$((pause * 2))
        [ "$pause" -le 30 ] || pause=30
    done
    fail "$what: gave up after 10 tries, the last failed with status $status; see /var/log/cloud-init-output.log"
}

# Keeps services from starting before they are configured.
hold_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    policy=/usr/sbin/policy-rc.d
    cat >"$policy" <<'POLICY'
#!/bin/sh
case "$1" in
    haproxy* | keepalived*) exit 101 ;;
esac
POLICY
    chmod 755 "$policy"
}

with_apt() {
    apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
            -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60 \
            install "$@"
}

with_dnf() {
    dnf -q -y install "$@"
}

# want COMMAND PACKAGE: adds the package to `missing` if the command is absent.
missing=
want() {
    command -v "$1" >/dev/null || missing="$missing $2"
}

install_packages() {
    if command -v apt-get >/dev/null; then
        installer=with_apt iproute=iproute2
    else
        installer=with_dnf iproute=iproute
    fi
    want haproxy haproxy
    want keepalived keepalived
    want rsyslogd rsyslog
    want logrotate logrotate
    want nft nftables
    want curl curl
    want ip "$iproute"
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ||
        missing="$missing ca-certificates"
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || command -v dnf >/dev/null ||
        fail "found neither apt-get nor dnf to install$missing; use an image that has these packages"
    say "installing$missing"
    hold_services
    # shellcheck disable=SC2086 # a list of words
    retry "installing$missing" "$installer" $missing
    [ -z "$policy" ] || rm -f -- "$policy"
    policy=
}

checksum() {
    sum=$(sha256sum <"$1")
    echo "${sum%% *}"
}

# Prints cloud-init's own interpreter: an image has it, and maybe no other.
python() {
    read -r line 2>/dev/null <"$(command -v cloud-init)" || line=
    line=${line#'#!'}
    line=${line# }
    case ${line%% *} in
        */python*) echo "${line%% *}" ;;
        *) echo python3 ;;
    esac
}

# get_object INTERPRETER BUCKET KEY FILE: signs the request itself (IAM User Guide, "AWS Signature Version 4 for API
# requests"), with new credentials in each try. Which headers curl's --aws-sigv4 signs depends on curl's version.
get_object() {
    # The authorities that curl trusts.
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        [ ! -e "$bundle" ] || export SSL_CERT_FILE="$bundle"
    done
    timeout 300 "$1" -I - "$2" "$3" "$4" <<'PROGRAM'
import datetime, hashlib, hmac, json, re, sys, urllib.error, urllib.parse, urllib.request

bucket, key, file = sys.argv[1:]
web = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def imds(path, method="GET", **headers):
    headers = {"X-aws-ec2-metadata-" + name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request("http://169.254.169.254/latest/" + path, method=method, headers=headers)
    return web.open(request, timeout=5).read().decode().strip()

def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()

place = "IMDS"
try:
    token = imds("api/token", "PUT", token_ttl_seconds="300")
    identity = json.loads(imds("dynamic/instance-identity/document", token=token))
    domain = imds("meta-data/services/domain", token=token)
    roles = "meta-data/iam/security-credentials/"
    login = json.loads(imds(roles + imds(roles, token=token).split()[0], token=token))

    account, region = identity["accountId"], identity["region"]
    own = "elbow-" + account + "-" + region
    bucket = bucket or own
    place = bucket + ".s3." + region + "." + domain
    path = "/" + urllib.parse.quote(key)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": place, "x-amz-content-sha256": sha256(""), "x-amz-date": now}
    headers["x-amz-security-token"] = login["Token"]
    if bucket == own:
        headers["x-amz-expected-bucket-owner"] = account
    names = sorted(headers)
    signed = ";".join(names)
    lines = [name + ":" + headers[name] for name in names]
    request = "\n".join(["GET", path, "", *lines, "", signed, sha256("")])
    scope = now[:8] + "/" + region + "/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, sha256(request)])
    signature = ("AWS4" + login["SecretAccessKey"]).encode()
    for part in [*scope.split("/"), text]:
        signature = hmac.new(signature, part.encode(), "sha256").digest()
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=" + login["AccessKeyId"] + "/" + scope + \
        ", SignedHeaders=" + signed + ", Signature=" + signature.hex()

    answer = web.open(urllib.request.Request("https://" + place + path, headers=headers), timeout=30)
    size = 0
    with open(file, "wb") as target:
        for part in iter(lambda: answer.read(1 << 20), b""):
            size += target.write(part)
    if size != int(answer.headers["Content-Length"]):
        raise OSError("the connection ended after " + str(size) + " bytes")
except urllib.error.HTTPError as error:
    code = re.search("<Code>([A-Za-z0-9]+)</Code>", error.read(9999).decode("utf-8", "replace"))
    sys.exit(place + " answers " + str(error.code) + " " + (code[1] if code else error.reason))
except Exception as error:
    sys.exit(place + ": " + " ".join(str(error).split()) + " (" + type(error).__name__ + ")")
PROGRAM
}

download() (
    ulimit -f 524288
    said=$(get_object "$(python)" "$bucket" "$key" "$scratch" 2>&1) && exit 0
    shout "$said"
    exit 1
)

# Sets `fetched` to whether the agent changed.
fetch_agent() {
    fetched=no
    [ -n "$sha256" ] || fail "the balancer has no agent for $(uname -m): run launcher update with agent-$(uname -m) beside the launcher"
    [ ! -x "$agent" ] || [ "$(checksum "$agent")" != "$sha256" ] || return 0
    mkdir -p "${agent%/*}"
    scratch=$(mktemp "$agent.XXXXXX")
    retry "fetching the agent from $shown" download
    got=$(checksum "$scratch")
    [ "$got" = "$sha256" ] ||
        fail "wrong checksum: $shown has SHA-256 $got; delete it, and run launcher create again: it uploads the agent"
    chmod 755 "$scratch"
    sync "$scratch"
    mv -f -- "$scratch" "$agent"
    scratch=
    fetched=yes
}

# HAProxy connects to any port; keepalived runs the agent's checks and shares /run/elbow with it.
allow_by_selinux() {
    enforces=$(getenforce 2>/dev/null || cat /sys/fs/selinux/enforce 2>/dev/null || :)
    case "$enforces" in
        Enforcing | 1) ;;
        *) return 0 ;;
    esac
    say "SELinux enforces: allowing HAProxy and keepalived what they need"
    setsebool -P haproxy_connect_any=1 keepalived_connect_any=1 ||
        fail "SELinux enforces, and setsebool can't set haproxy_connect_any and keepalived_connect_any; do so in the image, or make SELinux permissive"
    echo '(typepermissive keepalived_t)' >/etc/elbow/elbow_keepalived.cil
    semodule -i /etc/elbow/elbow_keepalived.cil ||
        fail "SELinux enforces, and semodule can't make keepalived_t permissive; do so in the image, or make SELinux permissive"
    chcon -t bin_t "$agent" || fail "SELinux enforces, and chcon can't label $agent as a program (bin_t)"
}

# The agent starts HAProxy and keepalived, in order and only when configured.
release_services() {
    systemctl daemon-reload
    for unit in haproxy keepalived; do
        if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
            systemctl disable --quiet "$unit"
            systemctl stop "$unit"
        fi
    done
    systemctl is-enabled --quiet rsyslog 2>/dev/null || systemctl enable --quiet rsyslog
    systemctl restart rsyslog || say "rsyslog doesn't start, so /var/log/haproxy.log isn't written; see systemctl status rsyslog"
    # RPMs start nothing, and enable what a preset lists.
    if [ -e /usr/lib/systemd/system/logrotate.timer ]; then
        systemctl enable --quiet logrotate.timer
        systemctl start logrotate.timer ||
            say "logrotate.timer doesn't start, so /var/log/haproxy.log is rotated by its size alone; see systemctl status logrotate.timer"
    fi
}

start_agent() {
    systemctl enable --quiet elbow-agent.service
    # --no-block: the agent waits for peers and for the API, and reports so itself.
    if [ "$fetched" = yes ]; then
        systemctl restart --no-block elbow-agent.service
    else
        systemctl start --no-block elbow-agent.service
    fi
}

install_packages
/usr/lib/systemd/systemd-sysctl /etc/sysctl.d/90-elbow.conf || say "can't set all of /etc/sysctl.d/90-elbow.conf"
release_services
fetch_agent
allow_by_selinux
start_agent
ended=yes
say "installed; the agent is starting"
