//! The webhook's events and the metrics: their contents, their secrecy, and a receiver that hangs or fails.

mod receiver;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lab::prober;
use lab::rig::{Rig, printed, wait_for};
use serde_json::Value;

use receiver::{Manner, Receiver, SECRET};

const BOOT: Duration = Duration::from_secs(90);
/// The active node reads the routes every 33 s at most, and this machine may be busy.
const LOOK: Duration = Duration::from_secs(60);

/// Creates a balancer with a receiver as its webhook; returns the receiver, the active node and all nodes.
fn told(rig: &Rig) -> Result<(Receiver, String, Vec<String>)> {
    let receiver = Receiver::start(rig)?;
    rig.create(&rig.balancer(Receiver::balancer)?)?;
    let nodes = rig.serving_nodes(2, BOOT)?.into_iter().map(|node| node.id).collect();
    let active = rig.active()?;
    receiver.wait(&active, "role_changed", LOOK, |one| one["role"]["now"] == "active")?;
    Ok((receiver, active, nodes))
}

/// The route tables with a route to the virtual IP.
fn tables(rig: &Rig) -> Result<Vec<String>> {
    let routes = rig.status()?.routes.into_iter().filter(|route| route.destination == "10.255.0.10/32");
    let mut tables: Vec<String> = routes.map(|route| route.table).collect();
    tables.sort_unstable();
    Ok(tables)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_and_the_metrics_report_a_power_cut_and_an_incomplete_takeover() -> Result<()> {
    let rig = Rig::up()?;
    let (receiver, lost, nodes) = told(&rig)?;
    let heir = nodes.into_iter().find(|node| *node != lost).context("a second node")?;
    rig.lab(["fail", "ReplaceRoute", "UnauthorizedOperation", "100000"])?;
    rig.lab(["kill", &lost])?;
    let told = receiver.wait(&heir, "role_changed", LOOK, |one| one["role"]["now"] == "active")?;
    ensure!(told["role"]["before"] == "standby" && told["virtual_ip"] == "10.255.0.10", "{told}");
    ensure!(told["balancer"] == "web" && told["region"] == "eu-west-1", "{told}");
    let told = receiver.wait(&heir, "takeover_incomplete", LOOK, |_| true)?;
    let tables = tables(&rig)?;
    let mut said: Vec<&Value> = told["takeover"]["tables"].as_array().context("a list of tables")?.iter().collect();
    said.sort_unstable_by_key(|one| one["table"].to_string());
    ensure!(said.iter().map(|one| &one["table"]).eq(tables.iter().map(|table| table.as_str())), "{told}: {tables:?}");
    ensure!(
        said.iter().all(|one| one["why"].as_str().is_some_and(|why| why.contains("UnauthorizedOperation"))),
        "{told}"
    );
    rig.lab(["fail", "ReplaceRoute", "UnauthorizedOperation", "0"])?;
    receiver.wait(&heir, "takeover_complete", LOOK, |_| true)?;
    ensure!(rig.active()? == heir, "the routes lead elsewhere");
    receiver.in_order()?;

    let page = rig.inside(&heir, &["sh", "-c", SCRAPE])?;
    has(
        &page,
        &[
            ("elbow_takeovers_total", 1.0),
            ("elbow_takeovers_incomplete_total", 1.0),
            ("elbow_takeover_duration_seconds_count", 1.0),
            ("elbow_peers{", 1.0),
            ("elbow_peers_answering", 0.0),
            ("elbow_notifications_total{result=\"dropped\"", 0.0),
        ],
    )?;
    ensure!(metric(&page, "elbow_api_calls_total{action=\"ReplaceRoute\",result=\"denied\"")? >= 3.0, "{page}");
    rig.destroy("web").map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_and_the_metrics_report_routes_that_others_changed() -> Result<()> {
    let rig = Rig::up()?;
    let (receiver, active, _) = told(&rig)?;
    stolen(&rig, &receiver, &active, &tables(&rig)?)?;
    receiver.in_order()?;
    metrics(&rig, &active)?;
    rig.destroy("web").map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_reports_an_haproxy_that_stops() -> Result<()> {
    let rig = Rig::up()?;
    let (receiver, active, _) = told(&rig)?;
    rig.inside(&active, &["systemctl", "stop", "haproxy"])?;
    let role = serde_json::json!({"before": "active", "now": "fault"});
    let fault = receiver.wait(&active, "role_changed", LOOK, |one| one["role"] == role)?;
    ensure!(fault["problems"].to_string().contains("HAProxy"), "{fault}");
    let later = |one: &Value| one["sequence"].as_u64() > fault["sequence"].as_u64();
    receiver.wait(&active, "role_changed", LOOK, |one| one["role"]["now"] == "standby" && later(one))?;
    rig.destroy("web").map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_address_is_only_in_the_user_data() -> Result<()> {
    let rig = Rig::up()?;
    let _receiver = Receiver::start(&rig)?;
    let file = rig.balancer(Receiver::balancer)?;
    let dry_run = ["create".as_ref(), file.as_os_str(), "--dry-run".as_ref(), "--output=json".as_ref()];
    let plan = printed(&rig.launcher(dry_run)?)?;
    rig.create(&file)?;
    rig.serving_nodes(2, BOOT)?;
    secret_is_kept(&rig, &rig.active()?, &plan)?;
    rig.destroy("web").map(drop)
}

/// Deletes one route and points another one at a stranger: the agent reclaims both and reports them in one event.
fn stolen(rig: &Rig, receiver: &Receiver, owner: &str, tables: &[String]) -> Result<()> {
    let query = "NetworkInterfaces[?!(Attachment)] | [0].NetworkInterfaceId";
    let stranger = rig.aws(["ec2", "describe-network-interfaces", "--query", query])?;
    let stranger = stranger.as_str().context("the seed has no unattached interface")?;
    // A route counts as changed by others only after the agent has read that it leads here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    wait_for("the agent to read the routes", LOOK, || {
        let read = metric(&rig.inside(owner, &["sh", "-c", SCRAPE])?, "elbow_routes_read_timestamp_seconds")?;
        ensure!(read > now, "read at {read}, not since {now}");
        Ok(())
    })?;
    let route = ["--destination-cidr-block", "10.255.0.10/32", "--route-table-id"];
    let start = std::time::Instant::now();
    rig.aws(["ec2", "delete-route"].iter().chain(&route).chain(&[tables[0].as_str()]))?;
    let turn = [tables[1].as_str(), "--network-interface-id", stranger];
    rig.aws(["ec2", "replace-route"].iter().chain(&route).chain(&turn))?;

    let told = receiver.wait(owner, "routes_changed", LOOK, |_| true)?;
    rig.figure("routes stolen: found, reclaimed and told after", format!("{:.1?}", start.elapsed()))?;
    ensure!(told["routes"]["outcome"] == "reclaimed" && told["routes"]["changed"] == 2, "{told}");
    let found = |table: &str| {
        let tables = told["routes"]["tables"].as_array()?;
        tables.iter().find(|one| one["table"] == table)?["found"].as_str()
    };
    ensure!(found(&tables[0]) == Some("nothing") && found(&tables[1]) == Some(stranger), "{told}");
    let routes = rig.status()?.routes.into_iter().filter(|route| route.destination == "10.255.0.10/32");
    let leads: Vec<_> = routes.map(|route| route.instance).collect();
    ensure!(leads.len() == tables.len() && leads.iter().all(|lead| lead.as_deref() == Some(owner)), "{leads:?}");
    Ok(())
}

/// Reads the node's own metrics page.
const SCRAPE: &str =
    "curl --silent --show-error --fail --max-time 2 http://$(hostname -I | cut -d' ' -f1):9110/metrics";

/// The metrics have the expected values, `promtool` accepts the page, and the client in `metrics.clients` can read it.
fn metrics(rig: &Rig, owner: &str) -> Result<()> {
    let page = rig.inside(owner, &["sh", "-c", SCRAPE])?;
    let program = rig.dir().promtool();
    let mut promtool = Command::new(&program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}: `make setup` first", program.display()))?;
    promtool.stdin.take().context("its input")?.write_all(page.as_bytes())?;
    let said = promtool.wait_with_output()?;
    let said = [printed(&said)?, String::from_utf8_lossy(&said.stderr).into_owned()].concat();
    ensure!(said.is_empty(), "promtool reports: {said}");

    has(
        &page,
        &[
            ("elbow_role{role=\"active\"", 1.0),
            ("elbow_routes_right", 3.0),
            ("elbow_routes_wrong", 0.0),
            ("elbow_routes_changed_by_others_total{outcome=\"reclaimed\"", 2.0),
            ("elbow_haproxy_up", 1.0),
            ("elbow_peers{", 1.0),
            ("elbow_peers_answering", 1.0),
        ],
    )?;
    let address = rig.status()?.instances.into_iter().find(|one| one.id == owner).and_then(|one| one.address);
    let url = format!("http://{}:9110/metrics", address.context("the node has an address")?);
    let read = rig.lab(["client", "curl", "--silent", "--show-error", "--fail", "--max-time", "2", &url])?;
    ensure!(read.contains("elbow_node_info"), "{read}");
    Ok(())
}

/// Fails unless the samples have these values.
fn has(page: &str, wanted: &[(&str, f64)]) -> Result<()> {
    for (name, wanted) in wanted {
        let there = metric(page, name)?;
        ensure!(there == *wanted, "{name} is {there}, not {wanted}:\n{page}");
    }
    Ok(())
}

/// The value of the first sample with a line that begins with `start`.
fn metric(page: &str, start: &str) -> Result<f64> {
    let line = page.lines().find(|line| line.starts_with(start)).with_context(|| format!("no {start} in:\n{page}"))?;
    line.rsplit(' ').next().unwrap_or_default().parse().with_context(|| line.to_owned())
}

/// Fails if the launcher, the API or a node shows the webhook's address.
fn secret_is_kept(rig: &Rig, node: &str, plan: &str) -> Result<()> {
    let launcher = |words: &[&str]| -> Result<String> {
        let output = rig.launcher(words)?;
        Ok([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
    };
    let shown = [
        ("create --dry-run", plan.to_owned()),
        ("status", launcher(&["status", "web"])?),
        ("status --output json", launcher(&["status", "web", "--output", "json"])?),
        ("destroy --dry-run", launcher(&["destroy", "web", "--dry-run", "--output", "json"])?),
        ("tags", rig.aws(["ec2", "describe-tags"])?.to_string()),
        ("the journal", rig.inside(node, &["journalctl", "--no-pager"])?),
        ("agent status", rig.inside(node, &["/opt/elbow/agent", "status", "--output", "json"])?),
        ("metrics", rig.inside(node, &["sh", "-c", SCRAPE])?),
        ("world-readable files", rig.inside(node, &["sh", "-c", READABLE])?),
    ];
    for (what, text) in shown {
        ensure!(!text.is_empty() && !text.contains(SECRET), "the webhook's address is in {what}: {text}");
    }
    Ok(())
}

/// Lists world-readable files that contain the secret.
const READABLE: &str = "find /etc /run /var /opt -xdev -type f -perm -o=r -exec grep -l hook-s3cret {} + ; echo looked";

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_fails_or_is_down_delays_no_takeover_and_gets_events_later() -> Result<()> {
    let rig = Rig::up()?;
    let receiver = Receiver::start(&rig)?;
    rig.create(&rig.balancer(Receiver::balancer)?)?;
    let nodes = rig.serving_nodes(2, BOOT)?;
    let lost = rig.active()?;
    let heir = nodes.iter().find(|node| node.id != lost).context("a second node")?.id.clone();
    receiver.wait(&heir, "role_changed", LOOK, |one| one["role"]["now"] == "standby")?;
    let told_before = receiver.taken().len();

    receiver.turn(Manner::Hangs);
    rig.lab(["latency", "100"])?;
    let prober = rig.prober(10)?;
    prober.answered(50, Duration::from_secs(10)).await.context("before the power cut")?;
    rig.lab(["kill", &lost])?;
    wait_for("the heir's first try", LOOK, || sent_in(&receiver, Manner::Hangs))?;
    prober.answered(50, Duration::from_secs(30)).await.context("after the power cut")?;
    let outage = prober::longest_outage(&prober.finish()?).context("there were two answers")?.length();
    rig.figure("power cut, 100 ms latency, webhook hanging: outage", format!("{outage:.0?}"))?;
    // Less than the shortest timeout of the webhook's sender.
    ensure!(outage < Duration::from_millis(2500), "the outage was {outage:.0?}");

    receiver.turn(Manner::Fails);
    wait_for("a try that fails", LOOK, || sent_in(&receiver, Manner::Fails))?;
    ensure!(receiver.taken().len() == told_before, "the receiver accepted an event: {:?}", receiver.taken());
    let tries = receiver.sent();
    drop(receiver);
    let waiting = rig.inside(&heir, &["sh", "-c", SCRAPE])?;
    ensure!(metric(&waiting, "elbow_notifications_waiting")? >= 1.0, "{waiting}");

    let receiver = wait_for("the receiver's port", LOOK, || Receiver::start(&rig))?;
    let told = receiver.wait(&heir, "role_changed", LOOK, |one| one["role"]["now"] == "active")?;
    let same = tries.iter().filter(|sent| sent.event["id"] == told["id"]).count();
    ensure!(same >= 2 && told["dropped"] == 0, "the event was sent {same} times before: {told}");
    receiver.in_order()?;
    rig.destroy("web").map(drop)
}

fn sent_in(receiver: &Receiver, manner: Manner) -> Result<()> {
    ensure!(receiver.sent().iter().any(|sent| sent.manner == manner), "the receiver got {:?}", receiver.sent());
    Ok(())
}
