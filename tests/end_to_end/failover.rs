//! Failover after a power cut of the active node, and the time of a takeover with twenty route tables.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::observations::{answered, interface_of, master_since, text};
use lab::prober;
use lab::rig::Rig;

use crate::pair::{self, RECOVERY, on_pair, rounds};
use crate::takeover::{operator, replaced, with_tables};

#[tokio::test]
async fn a_power_cut_is_over_within_about_a_second() -> Result<()> {
    on_pair(async |rig| power_cuts(rig, &pair::file(rig)?).await).await
}

async fn power_cuts(rig: &Rig, file: &Path) -> Result<()> {
    rig.lab(["latency", "100"])?;
    let mut outages = Vec::new();
    for _ in 0..rounds() {
        rig.serving_nodes(2, RECOVERY)?;
        let lost = rig.active()?;
        let prober = rig.prober(10)?;
        prober.answered(50, Duration::from_secs(10)).await.context("before the power cut")?;
        rig.lab(["kill", &lost])?;
        // Answers within this time may belong to requests from before the cut.
        tokio::time::sleep(Duration::from_millis(100)).await;
        prober.answered(50, Duration::from_secs(30)).await.context("after the power cut")?;
        let outage = prober::longest_outage(&prober.finish()?).context("there were two answers")?;
        outages.push(outage.length());
        ensure!(rig.active()? != lost, "the route still points at {lost}");

        // The API reports a node without power as `running` until it is terminated.
        rig.aws(["ec2", "terminate-instances", "--instance-ids", &lost])?;
        rig.create(file).context("launching the lost node again")?;
    }
    let median = prober::median(&outages).context("some outages")?;
    let worst = *outages.iter().max().context("some outages")?;
    rig.figure("power cut, 100 ms latency: outages", format!("{outages:.2?}"))?;
    rig.figure("power cut, 100 ms latency: median outage", format!("{median:.2?}"))?;
    ensure!(median <= Duration::from_secs(1), "the median of {outages:?} is {median:?}, more than 1 s");
    ensure!(worst <= Duration::from_millis(1500), "the worst of {outages:?} is {worst:?}, more than 1.5 s");
    Ok(())
}

#[tokio::test]
async fn twenty_route_tables_take_about_as_long_as_one() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer(|text| text)?;
    let tables = with_tables(&rig, 20).await?;
    rig.create(&file)?;
    rig.serving_nodes(2, RECOVERY)?;
    rig.lab(["latency", "50"])?;

    let lost = rig.active()?;
    rig.lab(["calls", "--clear"])?;
    rig.lab(["kill", &lost])?;
    let replaced = replaced(&rig, tables.len(), Duration::from_secs(30))?;
    let heir = text(&replaced[0]["caller"])?;
    let last = replaced.iter().map(answered).collect::<Result<Vec<_>>>()?.into_iter().max().context("20 calls")?;
    let agent = last.duration_since(master_since(&rig, &heir)?);

    let interface = interface_of(&rig, &heir)?;
    let bare = bare_client(&rig, &tables, &interface).await?;
    let agent = Duration::try_from(agent)?;
    let ratio = agent.as_secs_f64() / bare.as_secs_f64();
    rig.figure("20 tables, 50 ms latency: agent, from `vrrp MASTER` to the last answer", format!("{agent:.0?}"))?;
    rig.figure("20 tables, 50 ms latency: bare concurrent client", format!("{bare:.0?}"))?;
    rig.figure("20 tables: agent / bare client", format!("{ratio:.2}"))?;
    ensure!(ratio <= 1.5, "the agent took {agent:?}, {ratio:.2} times the bare client's {bare:?}");
    Ok(())
}

/// The time of a client that makes the same calls concurrently over new connections, and does nothing else.
async fn bare_client(rig: &Rig, tables: &[String], interface: &str) -> Result<Duration> {
    let client = operator(rig)?;
    let start = Instant::now();
    let calls = tables.iter().map(|table| {
        let call = client.replace_route().route_table_id(table).destination_cidr_block("10.255.0.10/32");
        call.network_interface_id(interface).send()
    });
    for answer in futures::future::join_all(calls).await {
        answer.context("the bare client's ReplaceRoute")?;
    }
    Ok(start.elapsed())
}
