//! Watches clients of both balancers during a fault: measures the outage of `web`, and checks that the bystander is
//! unaffected.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::bystander;
use lab::prober::{self, Probe, Prober};
use lab::rig::wait_for;
use serde_json::Value;

use crate::stage::Stage;

/// The interval between requests, in milliseconds.
const EVERY: u64 = 20;
/// `web` serves when it has given this many good answers in a row.
const SERVICE: usize = 25;
/// The calls that move routes.
const MOVES: [&str; 3] = ["ReplaceRoute", "CreateRoute", "DeleteRoute"];

/// The running clients of both balancers, and the bystander's state before the fault.
pub struct Watch<'a> {
    stage: &'a Stage,
    web: Prober,
    bystander: Option<Prober>,
    began: Instant,
    before: BTreeMap<String, Bystander>,
}

/// The state of one node of the bystander.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bystander {
    role: Option<String>,
    /// The number of VRRP state changes in its agent's log.
    words: usize,
}

/// What the clients of `web` saw.
pub struct Seen {
    /// The longest time without a good answer.
    pub outage: Duration,
    pub failed: usize,
    /// Successful calls of nodes that changed a route: the node and the table.
    pub moves: Vec<(String, String)>,
}

impl<'a> Watch<'a> {
    pub fn start(stage: &'a Stage) -> Result<Watch<'a>> {
        let before = bystanders(stage)?;
        stage.rig.lab(["calls", "--clear"])?;
        let (web, bystander) = (stage.rig.prober(EVERY)?, stage.rig.prober_of(bystander::VIP, EVERY)?);
        let watch = Watch { stage, web, bystander: Some(bystander), began: Instant::now(), before };
        watch.served(Duration::from_secs(10)).context("before the fault")?;
        Ok(watch)
    }

    /// Waits until [`SERVICE`] requests in a row, sent from now on, are answered.
    pub fn served(&self, patience: Duration) -> Result<()> {
        let now = self.began.elapsed();
        wait_for("service", patience, || {
            let mut later: Vec<Probe> = self.web.notes().into_iter().filter(|probe| probe.sent >= now).collect();
            later.sort_by_key(|probe| probe.sent);
            let good = later.iter().rev().take_while(|probe| probe.outcome.is_ok()).count();
            let last = later.last().map(|probe| &probe.outcome);
            ensure!(good >= SERVICE, "{good} good answers in a row, the last one: {last:?}");
            Ok(())
        })
    }

    /// Watches for a while, to show that something doesn't happen.
    pub fn go_on(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Ends the watch, notes the outage, and checks that the bystander is unaffected.
    pub fn end(mut self, fault: &str) -> Result<Seen> {
        let others = self.bystander.take().context("no clients of the bystander")?.finish()?;
        let (stage, before) = (self.stage, std::mem::take(&mut self.before));
        let seen = self.end_shared(fault)?;
        let lost: Vec<_> = others.iter().filter(|probe| probe.outcome.is_err()).collect();
        ensure!(lost.is_empty(), "{} requests to the bystander failed, the first: {:?}", lost.len(), lost[0]);
        let after = bystanders(stage)?;
        ensure!(before == after, "the bystander changed from {before:?} to {after:?}");
        let theirs: Vec<_> = moves(stage)?.into_iter().filter(|(node, _)| before.contains_key(node)).collect();
        ensure!(theirs.is_empty(), "the bystander moved routes: {theirs:?}");
        Ok(seen)
    }

    /// Ends the watch of a fault that affects the bystander, too, and notes the outage.
    pub fn end_shared(self, fault: &str) -> Result<Seen> {
        let notes = self.web.finish()?;
        let outage = prober::longest_outage(&notes).context("clients had less than two good answers")?.length();
        let failed = notes.iter().filter(|probe| probe.outcome.is_err()).count();
        let figure =
            format!("{:.2} s without service, {failed} of {} requests failed", outage.as_secs_f64(), notes.len());
        self.stage.rig.figure(fault, figure)?;
        Ok(Seen { outage, failed, moves: moves(self.stage)? })
    }
}

impl Seen {
    /// The number of route changes in each table.
    pub fn changes(&self) -> BTreeMap<&str, usize> {
        self.moves.iter().fold(BTreeMap::new(), |mut changes, (_, table)| {
            *changes.entry(table.as_str()).or_default() += 1;
            changes
        })
    }

    /// Fails if the outage was longer than `limit`.
    pub fn at_most(&self, limit: Duration) -> Result<()> {
        ensure!(self.outage <= limit, "the outage was {:.0?}, more than {limit:?}", self.outage);
        Ok(())
    }

    /// Fails if a route moved, a request failed, or clients waited for more than 300 ms.
    pub fn nothing_happened(&self) -> Result<()> {
        ensure!(self.moves.is_empty(), "routes were moved: {:?}", self.moves);
        ensure!(self.failed == 0, "{} requests failed", self.failed);
        self.at_most(Duration::from_millis(300))
    }
}

fn bystanders(stage: &Stage) -> Result<BTreeMap<String, Bystander>> {
    let nodes = stage.bystanders()?.into_iter();
    nodes
        .map(|node| {
            let log = stage.rig.inside(&node.id, &["journalctl", "-u", "elbow-agent", "--no-pager", "-o", "cat"])?;
            let words = log.lines().filter(|line| line.contains("vrrp ")).count();
            Ok((node.id, Bystander { role: node.role, words }))
        })
        .collect()
}

/// The successful calls of instances that changed routes: the instance and the table.
fn moves(stage: &Stage) -> Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_move = |call: &Value| call["status"] == 200 && MOVES.iter().any(|action| call["action"] == *action);
    let calls = stage.rig.calls()?.into_iter().filter(is_move).filter(|call| text(&call["caller"]).starts_with("i-"));
    Ok(calls.map(|call| (text(&call["caller"]), text(&call["request"]["RouteTableId"]))).collect())
}
