//! Measures takeovers of 1 to 200 route tables by the agent, the other tools and the floor's client. All run in an
//! instance of the lab, over TLS, with the instance's credentials (the floor's client with the operator's).

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use lab::rig::Rig;

use crate::arena::{Arena, say};
use crate::elbow;
use crate::floor::{Bare, Routes};
use crate::others::{Account, Node, move_ip, original};
use crate::results::{Attempt, Cell, Takeover, Who};

/// The virtual IPs of the other tools: Elbow would reclaim its own.
const VIPS: [&str; 2] = ["10.255.0.77", "10.255.0.78"];
const COUNTS: [usize; 5] = [1, 5, 20, 50, 200];
/// EC2's token bucket for mutating calls (EC2 Developer Guide, "Request throttling").
const BURST: u32 = 50;
const REFILL: f64 = 5.0;
const THROTTLED_AT_MS: u64 = 50;

/// Measures all tools at one API latency.
pub fn run(arena: &Arena, latency_ms: u64) -> Result<Takeover> {
    let rig = arena.rig()?;
    let counts = if arena.quick { &COUNTS[..3] } else { &COUNTS[..] };
    let mut cells = Vec::new();
    for &count in counts {
        let tables = elbow::tables(&rig, count)?;
        cells.extend(elbows(arena, &rig, &tables, latency_ms)?);
    }
    let account = Account::prepare(&rig)?;
    let others = Others {
        node: account.launch(&rig, "private-a")?,
        second: account.launch(&rig, "private-b")?,
        elsewhere: a_strangers_interface(&rig)?,
    };
    for &count in counts {
        let tables = elbow::tables(&rig, count)?;
        cells.extend(others.measure(arena, &rig, &tables, latency_ms)?);
    }
    Ok(Takeover { latency_ms, cells })
}

/// Measures the agent, and with throttling if the bucket is too small for the tables.
fn elbows(arena: &Arena, rig: &Rig, tables: &[String], latency_ms: u64) -> Result<Vec<Cell>> {
    let count = tables.len();
    rig.lab(["latency", "0"])?;
    rig.create(&elbow::balancer(rig, tables)?)?;
    rig.lab(["latency", &latency_ms.to_string()])?;
    let take = |throttled: bool, times: usize| -> Result<Vec<Cell>> {
        let attempts = repeat(times, || {
            if throttled {
                rig.serving_nodes(2, elbow::RECOVERY)?;
                rig.lab(["throttle", &BURST.to_string(), &REFILL.to_string()])?;
            }
            elbow::take_over(rig, count)
        })?;
        rig.lab(["throttle", "0", "0"])?;
        Ok(vec![cell(Who::Agent, count, throttled, latency_ms, attempts)])
    };
    let mut cells = take(false, arena.times(5))?;
    // With throttling the bucket decides, not the latency: one latency is enough.
    if count as f64 > f64::from(BURST) && latency_ms == THROTTLED_AT_MS {
        cells.extend(take(true, arena.times(2))?);
        // The bucket's own time, and the answer to the last call.
        let seconds = (count as f64 - f64::from(BURST)) / REFILL + latency_ms as f64 / 1000.0;
        cells.push(cell(Who::Floor, count, true, latency_ms, vec![Attempt { seconds, moved: count }]));
    }
    rig.lab(["latency", "0"])?;
    rig.destroy("web")?;
    Ok(cells)
}

struct Others {
    /// Runs the floor's client and the CLI loop.
    node: Node,
    /// Runs `aws-vpc-move-ip` at the same time as the loop, as it mostly sleeps.
    second: Node,
    /// The interface to which the routes lead before each takeover.
    elsewhere: String,
}

impl Others {
    fn measure(&self, arena: &Arena, rig: &Rig, tables: &[String], latency_ms: u64) -> Result<Vec<Cell>> {
        let count = tables.len();
        let [first, second] = VIPS.map(|vip| Routes { tables, vip });
        let bare = Bare::at(rig, &self.node.interface)?;
        let set_latency = |ms: u64| rig.lab(["latency", &ms.to_string()]).map(drop);
        set_latency(0)?;
        for routes in [&first, &second] {
            bare.create(routes, &self.elsewhere)?;
        }
        set_latency(latency_ms)?;
        rig.lab(["calls", "--clear"])?;
        let floor = |replace: &dyn Fn() -> Result<Duration>| {
            repeat(arena.times(5), || Ok(Attempt { seconds: replace()?.as_secs_f64(), moved: count }))
        };
        let here = &self.node.interface;
        let cold = floor(&|| bare.replace(&first, here))?;
        let warm = floor(&|| bare.replace_again(&first, here))?;
        // A takeover of minutes runs once, one of tens of seconds twice.
        let times = |few: usize| arena.times(if count >= 50 { 1 } else { few.min(40 / count).max(1) });
        let (looped, moved) = std::thread::scope(|scope| {
            let moving = scope.spawn(|| {
                // It mostly sleeps, so its time hardly varies.
                repeat(if count == 1 { arena.times(2) } else { 1 }, || {
                    bare.replace(&second, &self.elsewhere)?;
                    move_ip::take_over(rig, &self.second, &second)
                })
            });
            let looped = repeat(times(5), || {
                bare.replace(&first, &self.elsewhere)?;
                original::take_over(rig, &self.node, &first)
            });
            (looped, moving.join())
        });
        let moved = moved.map_err(|_| anyhow!("the resource agent's thread panicked"))??;
        set_latency(0)?;
        for routes in [&first, &second] {
            bare.delete(routes)?;
        }
        let cells = [(Who::Floor, cold), (Who::WarmFloor, warm), (Who::Loop, looped?), (Who::MoveIp, moved)];
        Ok(cells.map(|(who, attempts)| cell(who, count, false, latency_ms, attempts)).into())
    }
}

fn cell(who: Who, tables: usize, throttled: bool, latency_ms: u64, attempts: Vec<Attempt>) -> Cell {
    let seconds: Vec<String> = attempts.iter().map(|attempt| format!("{:.3}", attempt.seconds)).collect();
    let under = if throttled { ", throttled" } else { "" };
    say(format!("{latency_ms} ms, {tables} tables{under}: {who:?} {} s", seconds.join(", ")));
    Cell { who, tables, throttled, attempts }
}

fn repeat(times: usize, mut once: impl FnMut() -> Result<Attempt>) -> Result<Vec<Attempt>> {
    (0..times).map(|_| once()).collect()
}

/// A stranger's interface.
fn a_strangers_interface(rig: &Rig) -> Result<String> {
    let found = rig.aws(["ec2", "describe-network-interfaces", "--filters", "Name=tag:Name,Values=other"])?;
    lab::observations::text(&found["NetworkInterfaces"][0]["NetworkInterfaceId"]).context("no interface named other")
}
