//! A takeover's ReplaceRoute calls: no other call precedes them, and a throttled API is used at its full rate.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use jiff::Timestamp;
use lab::bystander;
use lab::observations::{answered, elections, eligible_tables, master_since, text};
use lab::rig::{Rig, wait_for};
use serde_json::Value;

use crate::pair::{RECOVERY, on_pair};

/// A new connection takes twice this time in the lab.
const LATENCY: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_takeover_waits_for_no_connection_and_makes_no_other_call_first() -> Result<()> {
    on_pair(async |rig| takes_over(rig)).await
}

fn takes_over(rig: &Rig) -> Result<()> {
    let tables = eligible_tables(rig, &rig.status()?.vpc)?;
    wait_for("a standby with as many connections as there are tables", RECOVERY, || {
        let open = ["exec", "standby", "ss", "-Htn", "state", "established", "dport", "=", ":443"];
        let open = rig.lab(open)?.lines().count();
        ensure!(open >= tables.len(), "the standby has {open}");
        Ok(())
    })?;
    rig.lab(["latency", &LATENCY.as_millis().to_string()])?;
    rig.lab(["calls", "--clear"])?;
    rig.lab(["kill", "active"])?;
    let replaced = replaced(rig, tables.len(), RECOVERY)?;
    let heir = text(&replaced[0]["caller"])?;
    let elected = master_since(rig, &heir)?;
    let came = replaced.iter().map(came).collect::<Result<Vec<_>>>()?;
    let last = came.into_iter().max().context("some calls")?;
    let took = Duration::try_from(last.duration_since(elected))?;
    rig.figure("3 tables: from `vrrp MASTER` to the last call's coming to the API", format!("{took:.1?}"))?;
    // Reading credentials, resolving a name or listing tables first would take at least one more latency.
    ensure!(took < LATENCY, "the last ReplaceRoute came {took:?} after `vrrp MASTER`");
    for call in rig.calls()?.iter().filter(|call| call["caller"] == replaced[0]["caller"]) {
        let between = (elected..=last).contains(&self::came(call)?);
        ensure!(!between || call["action"] == "ReplaceRoute", "{} was called during the takeover", call["action"]);
    }
    Ok(())
}

#[tokio::test]
async fn two_hundred_throttled_tables_take_the_buckets_own_time() -> Result<()> {
    let rig = Rig::up()?;
    let bystander = bystander::file(&rig)?;
    let tables = with_tables(&rig, 200).await?;
    let web = rig.balancer(|text| text)?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| rig.create(&bystander));
        rig.create(&web)?;
        other.join().expect("create doesn't panic")
    })?;
    rig.serving_nodes(2, RECOVERY)?;
    let theirs = rig.serving_nodes_of(bystander::NAME, 2, RECOVERY)?;
    let before = elections(&rig, &theirs)?;
    let prober = rig.prober_of(bystander::VIP, 20)?;
    rig.lab(["throttle", "50", "5"])?;
    rig.lab(["calls", "--clear"])?;
    rig.lab(["kill", "active:web"])?;
    let replaced = replaced(&rig, tables.len(), Duration::from_secs(120))?;
    let heir = text(&replaced[0]["caller"])?;
    let last = replaced.iter().map(answered).collect::<Result<Vec<_>>>()?.into_iter().max().context("200 calls")?;
    let took = Duration::try_from(last.duration_since(master_since(&rig, &heir)?))?;
    let made = rig.calls()?.iter().filter(|call| call["action"] == "ReplaceRoute").count();
    let floor = Duration::from_secs((200 - 50) / 5);
    let ratio = took.as_secs_f64() / floor.as_secs_f64();
    rig.figure("200 tables, bucket of 50 refilled at 5/s: agent", format!("{took:.1?}, {made} calls"))?;
    rig.figure("200 tables throttled: agent / the bucket's own time", format!("{ratio:.2}"))?;
    ensure!(ratio <= 1.15, "it took {took:?}, {ratio:.2} times the bucket's own {floor:?}");
    // The calls after the takeover would wait for the same bucket.
    rig.lab(["throttle", "1000", "1000"])?;
    let lost: Vec<_> = prober.finish()?.into_iter().filter(|probe| probe.outcome.is_err()).collect();
    ensure!(lost.is_empty(), "{} requests to the bystander failed, the first: {:?}", lost.len(), lost[0]);
    ensure!(elections(&rig, &theirs)? == before, "the bystander had an election");
    let moved = |call: &Value| theirs.iter().any(|node| call["caller"] == node.id) && call["action"] == "ReplaceRoute";
    ensure!(!rig.calls()?.iter().any(moved), "the bystander moved routes");
    Ok(())
}

/// Waits for `count` successful ReplaceRoute calls; returns them.
pub fn replaced(rig: &Rig, count: usize, patience: Duration) -> Result<Vec<Value>> {
    wait_for(&format!("{count} replaced routes"), patience, || {
        let done = |call: &Value| call["action"] == "ReplaceRoute" && call["status"] == 200;
        let done: Vec<Value> = rig.calls()?.into_iter().filter(done).collect();
        ensure!(done.len() >= count, "{} of {count} are replaced", done.len());
        Ok(done)
    })
}

/// Creates route tables until the VPC has `count` eligible ones; returns those.
pub async fn with_tables(rig: &Rig, count: usize) -> Result<Vec<String>> {
    let vpc = rig.status()?.vpc;
    let client = operator(rig)?;
    let mut tables = eligible_tables(rig, &vpc)?;
    while tables.len() < count {
        let made = client.create_route_table().vpc_id(&vpc).send().await.context("making a route table")?;
        let table = made.route_table().and_then(|table| table.route_table_id()).context("a table without an id")?;
        tables.push(table.to_owned());
    }
    Ok(tables)
}

/// An EC2 client outside the VPC.
pub fn operator(rig: &Rig) -> Result<Client> {
    let set = |key: &str| rig.variable(key);
    let credentials = Credentials::new(set("AWS_ACCESS_KEY_ID")?, set("AWS_SECRET_ACCESS_KEY")?, None, None, "lab");
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(set("AWS_REGION")?))
        .endpoint_url(set("AWS_ENDPOINT_URL")?)
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

fn came(call: &Value) -> Result<Timestamp> {
    Ok(text(&call["time"])?.parse()?)
}
