//! Clients stay on their targets through a power cut of the active node and a change of members: by HAProxy's cookie,
//! by the application's cookie, and by their addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::addresses::CLIENT;
use lab::network::namespace;
use lab::rig::{Rig, VIP, printed, wait_for};

use crate::pair::{self, RECOVERY, on_pair};

/// Clients of each listener.
const CLIENTS: u8 = 100;
const LIMIT: Duration = Duration::from_secs(5);

/// Listeners beside the pair's own. The one for addresses believes the client's PROXY headers, so that one machine
/// plays clients of many addresses.
const LISTENERS: &str = r#"
[[listener]]
name = "cookie"
port = 81
protocol = "http"
forward = "by-cookie"

[[listener]]
name = "app-cookie"
port = 82
protocol = "http"
forward = "by-app-cookie"

[[listener]]
name = "source"
port = 83
protocol = "tcp"
proxy_protocol_from = ["10.0.3.10/32"]
forward = "by-source"

[[target_group]]
name = "by-cookie"
protocol = "http"
targets = ["10.0.1.20:8080", "10.0.2.20:8080"]
sticky = { cookie = "ELBOW" }

[[target_group]]
name = "by-app-cookie"
protocol = "http"
targets = ["10.0.1.20:8080", "10.0.2.20:8080"]
sticky = { app_cookie = "session" }

[[target_group]]
name = "by-source"
protocol = "tcp"
targets = ["10.0.1.20:8080", "10.0.2.20:8080"]
balance = "round-robin"
sticky = { source = true }
"#;

/// What `show table` and `show stat` of HAProxy's admin socket print.
const STATE: &str = "import socket
s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); s.sendall(b'show table; show stat\\n')
print(s.makefile().read())";

/// A client, and the target that answered it first.
#[derive(Debug)]
struct Client {
    port: u16,
    /// A PROXY header, or nothing.
    proxy: String,
    cookie: String,
    target: String,
}

#[tokio::test]
async fn clients_stay_on_their_targets_through_a_power_cut() -> Result<()> {
    on_pair(async |rig| stay(rig)).await
}

fn stay(rig: &Rig) -> Result<()> {
    let plain = std::fs::read_to_string(pair::file(rig)?)?;
    let file = rig.file("sticky.toml", &(plain + LISTENERS))?;
    update(rig, &file)?;
    let clients = inside(first_visits)?;
    let lost = rig.active()?;
    let survivor = standby_of(rig, &lost)?;
    knows_all(rig, &survivor)?;
    checked_all(rig, &survivor)?;

    rig.lab(["kill", &lost])?;
    wait_for("the route to move", RECOVERY, || {
        ensure!(rig.active()? != lost, "it still leads to {lost}");
        inside(|| ask(80, "", "/", "").map(drop))
    })?;
    inside(|| all_stay(&clients)).context("after the power cut")?;

    // The survivor reloads HAProxy for the new member, which learns the tables from it.
    rig.aws(["ec2", "terminate-instances", "--instance-ids", &lost])?;
    rig.create(&file).context("launching the lost node again")?;
    knows_all(rig, &standby_of(rig, &rig.active()?)?)?;
    inside(|| all_stay(&clients)).context("after a change of members")?;
    update(rig, &pair::file(rig)?)
}

fn update(rig: &Rig, file: &Path) -> Result<()> {
    printed(&rig.launcher(["update".as_ref(), file.as_os_str()])?).map(drop)
}

/// The node of the pair that isn't `active`.
fn standby_of(rig: &Rig, active: &str) -> Result<String> {
    let nodes = rig.serving_nodes(2, RECOVERY)?;
    nodes.into_iter().map(|node| node.id).find(|node| node != active).context("a standby node")
}

/// Waits until a node's tables have all clients.
fn knows_all(rig: &Rig, node: &str) -> Result<()> {
    wait_for(&format!("{node} to know all clients"), RECOVERY, || {
        let said = rig.inside(node, &["python3", "-c", STATE])?;
        for table in ["by-app-cookie", "by-source"] {
            let line = said.lines().find(|line| line.starts_with(&format!("# table: {table},")));
            let is_full = line.is_some_and(|line| line.trim_end().ends_with(&format!("used:{CLIENTS}")));
            ensure!(is_full, "{table}: {line:?}");
        }
        Ok(())
    })
}

/// Waits until a node's targets have passed their first checks: until then, it sends no client to them.
fn checked_all(rig: &Rig, node: &str) -> Result<()> {
    wait_for(&format!("{node} to check all targets"), RECOVERY, || {
        let said = rig.inside(node, &["python3", "-c", STATE])?;
        let up = said.lines().filter(|line| line.starts_with("by-") && line.split(',').nth(17) == Some("UP"));
        // Two targets and the backend itself, in each of three groups.
        let up = up.filter(|line| !line.contains("--all")).count();
        ensure!(up == 9, "{up} of 9 are up: {said}");
        Ok(())
    })
}

/// Runs `work` at the client.
fn inside<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    namespace::enter(&namespace::behind(CLIENT), work)?
}

/// The first request of each client.
fn first_visits() -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let proxy = format!("PROXY TCP4 10.9.0.{n} 10.255.0.10 40000 83\r\n");
        for (port, proxy, path) in [(81, "", "/"), (82, "", &*format!("/login?session={n}")), (83, &*proxy, "/")] {
            let (target, cookie) = ask(port, proxy, path, "")?;
            clients.push(Client { port, proxy: proxy.to_owned(), cookie, target });
        }
    }
    for port in [81, 82, 83] {
        let here = clients.iter().filter(|client| client.port == port);
        let first = here.filter(|client| client.target == "target-a").count();
        ensure!((30..=70).contains(&first), "{first} of {CLIENTS} clients of port {port} are on one of two targets");
    }
    Ok(clients)
}

fn all_stay(clients: &[Client]) -> Result<()> {
    let mut moved = Vec::new();
    for client in clients {
        let (target, _) = ask(client.port, &client.proxy, "/", &client.cookie)?;
        if target != client.target {
            moved.push(client);
        }
    }
    ensure!(moved.is_empty(), "{} of {} clients moved: {moved:?}", moved.len(), clients.len());
    Ok(())
}

/// The name of the target that answers, and the cookie that it or HAProxy sets.
fn ask(port: u16, proxy: &str, path: &str, cookie: &str) -> Result<(String, String)> {
    let mut to: SocketAddr = VIP.parse()?;
    to.set_port(port);
    let mut stream = TcpStream::connect_timeout(&to, LIMIT).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    stream.write_all(format!("{proxy}GET {path} HTTP/1.0\r\nHost: web\r\n{cookie}\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("reading from {to}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{to} answered {answer:?}"))?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{to} answered {answer:?}");
    let set = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    let set = set.and_then(|set| set.split(';').next()).unwrap_or_default();
    Ok((body.trim().to_owned(), set.to_owned()))
}
