//! The install step's other ways to the agent: a file in the image, and Elbow's bucket. S3 is a stand-in here, which checks no
//! signature; the lab's does.

use templates::balancer::{Agents, Architecture};

use crate::install::{AGENT, balancer, sha256};
use crate::machine::Machine;

#[test]
fn an_agent_in_the_image_is_verified_and_installed() {
    let source = "/opt/image/agent";
    let machine = Machine::node().with_files_of(&balancer(source, &sha256(AGENT)), "").with(source, AGENT);
    machine.run("/etc/elbow/install.sh; /opt/elbow/agent").ok().with("the agent runs").with("elbow: installed");
    let other = Machine::node().with_files_of(&balancer(source, &sha256("another")), "").with(source, AGENT);
    other
        .run("/etc/elbow/install.sh; echo code $?")
        .ok()
        .with("code 1")
        .with("console: elbow: wrong checksum: the agent");
    let absent = Machine::node().with_files_of(&balancer(source, &sha256(AGENT)), "");
    let said = absent.run("/etc/elbow/install.sh; echo code $?").ok().with("code 1");
    said.with("console: elbow: the image has no /opt/image/agent").without(&["try 1 of 10"]);
}

/// IMDS, and S3 by TLS, as far as a download needs them. S3 denies the first request, as if IAM were slow.
const SERVERS: &str = r#"
import http.server, json, ssl, threading

LOGIN = {"Code": "Success", "AccessKeyId": "ASIA1", "SecretAccessKey": "secret", "Token": "token"}
IMDS = {
    "/dynamic/instance-identity/document": json.dumps({"accountId": "123456789012", "region": "eu-west-1"}),
    "/meta-data/services/domain": "amazonaws.com",
    "/meta-data/iam/security-credentials/": "nodes",
    "/meta-data/iam/security-credentials/nodes": json.dumps(LOGIN),
}
SIGNED = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-expected-bucket-owner;x-amz-security-token, "

class Imds(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        self.answer(200, "a-session")

    def do_GET(self):
        text = IMDS.get(self.path.removeprefix("/latest"))
        known = text and self.headers["X-aws-ec2-metadata-token"] == "a-session"
        self.answer(200 if known else 401, text if known else "")

class S3(Imds):
    tries = 0

    def do_GET(self):
        S3.tries += 1
        print("request for", self.headers["Host"] + self.path, self.headers["x-amz-expected-bucket-owner"], flush=True)
        if SIGNED not in self.headers["Authorization"] or self.headers["x-amz-security-token"] != LOGIN["Token"]:
            self.answer(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>")
        elif S3.tries == 1:
            self.answer(403, "<Error><Code>AccessDenied</Code><Message>Not yet.</Message></Error>")
        else:
            self.answer(200, open("/tmp/agent").read())

imds = http.server.ThreadingHTTPServer(("169.254.169.254", 80), Imds)
s3 = http.server.ThreadingHTTPServer(("127.0.0.1", 443), S3)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
s3.socket = context.wrap_socket(s3.socket, server_side=True)
threading.Thread(target=imds.serve_forever, daemon=True).start()
print("ready", flush=True)
s3.serve_forever()
"#;

#[test]
fn the_agent_in_elbows_bucket_is_fetched_by_signed_requests_until_iam_allows_it() {
    let mut managed = balancer("", "");
    managed.agent = None;
    managed.agents = Architecture::ALL.map(|kind| (kind, sha256(AGENT))).into();
    let machine =
        Machine::node().with_files_of(&managed, "").with("/tmp/agent", AGENT).with("/tmp/servers.py", SERVERS);
    let host = "elbow-123456789012-eu-west-1.s3.eu-west-1.amazonaws.com";
    let run = format!(
        "ip address add 169.254.169.254/32 dev lo; echo 127.0.0.1 {host} >>/etc/hosts; cd /tmp
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -addext subjectAltName=DNS:{host} \
            -keyout key.pem -out cert.pem 2>/dev/null
        cat cert.pem >>/etc/ssl/certs/ca-certificates.crt
        python3 servers.py >served 2>/dev/null & for try in $(seq 100); do grep -q ready served && break; sleep 0.1; done
        /etc/elbow/install.sh; /opt/elbow/agent; grep -c 'request for' served; sort -u served; kill $!"
    );
    let said = machine.run(&run).ok().with("the agent runs").with("elbow: installed");
    let said = said.with(&format!("elbow: {host} answers 403 AccessDenied\n"));
    let request = format!("2\nready\nrequest for {host}/agent/{} 123456789012\n", sha256(AGENT));
    said.with("try 1 of 10 failed with status 1").with(&request).without(&["secret", "token"]);
}

#[test]
fn a_node_without_an_agent_for_its_architecture_says_so() {
    let mut managed = balancer("", "");
    (managed.agent, managed.agents) = (None, Agents::new());
    let said = Machine::node().with_files_of(&managed, "").run("/etc/elbow/install.sh; echo code $?").ok();
    said.with("code 1").with("console: elbow: the balancer has no agent for ").without(&["try 1 of 10"]);
}
