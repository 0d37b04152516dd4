//! Takeovers while the API fails, hangs, gives stale answers or denies a call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::rig::{printed, wait_for};
use lab::stage::CALLS;

use crate::stage::{BOOT, Stage, play};
use crate::tables::{LIMIT, VIP};

/// How long the API is out of order.
const OUT_OF_ORDER: Duration = Duration::from_secs(20);
/// Longer than the active node's interval between two reads of the routes.
const LONG: Duration = Duration::from_secs(45);

impl Stage {
    /// Kills the active node while the API is out of order for `time`: `begin` starts the fault, `end` ends it.
    fn lost_meanwhile(
        &self,
        fault: &str,
        time: Duration,
        begin: impl Fn() -> Result<()>,
        end: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let (active, standby) = self.pair()?;
        let watch = self.watch()?;
        begin()?;
        let began = Instant::now();
        self.rig.lab(["kill", &active])?;
        wait_for("the standby to be MASTER", BOOT, || {
            ensure!(self.masters()? == [standby.clone()], "MASTER nodes: {:?}", self.masters()?);
            Ok(())
        })?;
        watch.go_on(time.saturating_sub(began.elapsed()));
        ensure!(self.routes()?.iter().all(|(_, to)| *to == active), "the API isn't out of order: {:?}", self.routes()?);
        end()?;
        ensure!(self.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        ensure!(self.serving_nodes(BOOT)? == standby, "some routes don't lead to the standby");
        watch.end(fault)?.at_most(time + Duration::from_secs(3))
    }
}

#[test]
fn a_takeover_ends_when_an_api_that_failed_for_20_s_works_again() -> Result<()> {
    play(|stage| {
        let each = |count: &str| -> Result<()> {
            CALLS.iter().try_for_each(|call| stage.rig.lab(["fail", call, "InternalError", count]).map(drop))
        };
        stage.lost_meanwhile("power cut while the API fails for 20 s", OUT_OF_ORDER, || each("1000000"), || each("0"))
    })
}

#[test]
fn a_takeover_goes_on_while_no_route_can_be_moved_for_45_s() -> Result<()> {
    play(|stage| {
        // Node 0 is killed: the standby reads the routes of a silent peer that would be preferred to it. That is the
        // case in which it is likeliest to stop its takeover.
        let nodes = stage.rig.serving_nodes(2, BOOT)?;
        let active = nodes.iter().find(|node| node.role.as_deref() == Some("active")).context("no node is active")?;
        if active.slot.as_deref() != Some("0") {
            printed(&stage.rig.launcher(["handover", "web", "--to", "0"])?)?;
        }
        let moves = |count: &str| -> Result<()> {
            let moves = ["ReplaceRoute", "CreateRoute"];
            moves.iter().try_for_each(|call| stage.rig.lab(["fail", call, "InternalError", count]).map(drop))
        };
        stage.lost_meanwhile("power cut while no route can be moved for 45 s", LONG, || moves("1000000"), || moves("0"))
    })
}

#[test]
fn a_takeover_ends_when_an_api_that_hung_for_20_s_answers_again() -> Result<()> {
    play(|stage| {
        let hang = |ms: &str| stage.rig.lab(["hang", ms]).map(drop);
        stage.lost_meanwhile("power cut while the API hangs for 20 s", OUT_OF_ORDER, || hang("3600000"), || hang("0"))
    })
}

#[test]
fn answers_that_are_10_s_old_cause_no_needless_route_changes() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        stage.rig.lab(["stale", "10000"])?;
        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        // The node's first reads show the routes as they were before its takeover.
        watch.go_on(Duration::from_secs(40));
        ensure!(stage.serving_nodes(BOOT)? == standby, "the routes have moved on");
        let seen = watch.end("power cut while Describe answers 10 s stale")?;
        seen.at_most(Duration::from_millis(1500))?;
        ensure!(seen.changes().values().all(|changes| *changes <= 2), "routes were moved again: {:?}", seen.moves);

        let watch = stage.watch()?;
        stage.rig.lab(["reboot", &active])?;
        stage.joined(&active)?;
        watch.go_on(Duration::from_secs(12));
        ensure!(stage.serving_nodes(BOOT)? == standby, "the routes have moved");
        watch.end("a node joins while Describe answers 10 s stale")?.nothing_happened()
    })
}

#[test]
fn one_denied_table_does_not_delay_the_others() -> Result<()> {
    play(|stage| {
        let (active, standby) = stage.pair()?;
        let routes = stage.rig.status()?.routes;
        let denied =
            routes.iter().find(|route| route.name == "private-a").context("the table private-a")?.table.clone();
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Action":["ec2:ReplaceRoute","ec2:CreateRoute"],
                "Resource":"arn:aws:ec2:*:*:route-table/{denied}"}}]}}"#
        );
        let role = ["--role-name", "elbow-eu-west-1-web", "--policy-name", "deny-one-table"];
        let put = ["iam", "put-role-policy", "--policy-document", &policy];
        stage.rig.aws(put.iter().chain(&role))?;
        let watch = stage.watch()?;
        stage.rig.lab(["kill", &active])?;
        ensure!(stage.moved(&active, BOOT)? == standby, "the route leads to neither of the pair");
        watch.served(BOOT)?;
        let said = wait_for("the node's message to name the denied table", BOOT, || {
            let nodes = stage.rig.status()?.instances;
            let said = nodes.into_iter().find(|node| node.id == standby).and_then(|node| node.message);
            said.filter(|said| said.contains(&denied)).with_context(|| format!("no message names {denied}"))
        })?;
        println!("{standby}: {said}");
        let others = |(table, to): &(String, String)| (table == &denied) == (to == &active);
        ensure!(stage.routes()?.iter().all(others), "{denied} is denied, and the routes lead {:?}", stage.routes()?);
        watch.end("power cut while one of three tables is denied")?.at_most(Duration::from_millis(1500))?;

        let other = &routes.iter().find(|route| route.name == "private-b").context("the table private-b")?.table;
        stage.rig.aws(["ec2", "delete-route", "--route-table-id", other, "--destination-cidr-block", VIP])?;
        let deleted = Instant::now();
        wait_for("the deleted route to be repaired", BOOT, || stage.is_routed(other, &standby))?;
        let time = deleted.elapsed();
        stage
            .rig
            .figure("a route that was deleted while another table is denied: right within", format!("{time:.0?}"))?;
        ensure!(time <= LIMIT, "the repair took {time:.0?}");

        stage.rig.aws(["iam", "delete-role-policy"].iter().chain(&role))?;
        let allowed = Instant::now();
        ensure!(stage.serving_nodes(BOOT)? == standby, "another node is active");
        stage.rig.figure(
            "a table that was denied: right after being allowed within",
            format!("{:.0?}", allowed.elapsed()),
        )?;
        ensure!(allowed.elapsed() <= Duration::from_secs(35), "the repair took {:?}", allowed.elapsed());
        Ok(())
    })
}
