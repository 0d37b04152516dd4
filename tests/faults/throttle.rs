//! Many route tables under AWS's own throttling.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::evidence::eligible_tables;
use lab::prober;
use lab::rig::{Rig, wait_for};

use crate::stage::BOOT;

const TABLES: usize = 200;
/// AWS's bucket for a call that changes something (EC2 Developer Guide, "Request throttling").
const BURST: usize = 50;
const REFILL: usize = 5;

#[tokio::test]
async fn two_hundred_tables_move_at_the_throttles_own_pace() -> Result<()> {
    let rig = Rig::up()?;
    let file = rig.balancer(|text| text)?;
    let vpc = rig.status()?.vpc;
    // Each by a call of its own, as nobody has another way; a few at a time, as each starts an AWS CLI.
    let missing = TABLES - eligible_tables(&rig, &vpc)?.len();
    std::thread::scope(|scope| {
        let make = || {
            (0..missing.div_ceil(4))
                .try_for_each(|_| rig.aws(["ec2", "create-route-table", "--vpc-id", &vpc]).map(drop))
        };
        let making: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        making.into_iter().try_for_each(|made| made.join().expect("no call panics"))
    })?;
    let tables = eligible_tables(&rig, &vpc)?;
    rig.create(&file)?;
    rig.settled(2, BOOT)?;
    let lost = rig.active()?;
    let led_to = |node: &str| -> Result<usize> {
        let routes = rig.status()?.routes.into_iter();
        Ok(routes.filter(|r| r.destination == "10.255.0.10/32" && r.instance.as_deref() == Some(node)).count())
    };
    wait_for("a route in every table", BOOT, || {
        ensure!(led_to(&lost)? == tables.len(), "{} of {} have it", led_to(&lost)?, tables.len());
        Ok(())
    })?;

    rig.lab(["throttle", &BURST.to_string(), &REFILL.to_string()])?;
    let prober = rig.prober(20)?;
    prober.answered(25, Duration::from_secs(10)).await.context("before the power cut")?;
    rig.lab(["kill", &lost])?;
    let began = Instant::now();
    let heir = wait_for("the first route", BOOT, || {
        let active = rig.active()?;
        ensure!(active != lost, "it leads to {lost} still");
        Ok(active)
    })?;
    wait_for("every route", BOOT, || {
        ensure!(led_to(&heir)? == tables.len(), "{} of {} are right", led_to(&heir)?, tables.len());
        Ok(())
    })?;
    let time = began.elapsed();
    let floor = Duration::from_secs(((tables.len() - BURST) / REFILL) as u64);
    let outage = prober::longest_outage(&prober.finish()?).context("there were two answers")?.length();
    rig.figure(
        &format!("power cut with {} tables, {BURST} tokens and {REFILL} a second", tables.len()),
        format!("{outage:.0?} without service where there are clients; all tables right after {time:.1?}, at best {floor:.0?}"),
    )?;
    // Where subnets are, routes go first.
    ensure!(outage <= Duration::from_millis(1500), "nobody was served for {outage:.0?}");
    ensure!(
        time <= floor.mul_f64(1.15) + Duration::from_secs(2),
        "it took {time:.1?}, the bucket's own time is {floor:?}"
    );
    rig.destroy("web").map(drop)
}
