//! Takeovers of 1 to 200 route tables: the agent's, the others', and the floor. All of them from an instance of the lab,
//! over TLS, with the instance's own credentials (the floor's client has the operator's).

use anyhow::{Context, Result};
use lab::rig::Rig;

use crate::arena::{Arena, say};
use crate::elbow;
use crate::floor::{Bare, Routes};
use crate::others::{Account, Node, move_ip, original};
use crate::results::{Attempt, Cell, Takeover, Who};

/// The virtual IP of the others and of the floor: Elbow would take its own back.
const VIP: &str = "10.255.0.77";
const COUNTS: [usize; 5] = [1, 5, 20, 50, 200];
/// The API's throttling: what EC2 gives calls that change something (EC2 Developer Guide, "Request throttling").
const BURST: u32 = 50;
const REFILL: f64 = 5.0;

/// At that API latency.
pub fn run(arena: &Arena, latency_ms: u64) -> Result<Takeover> {
    let rig = arena.rig()?;
    let counts = if arena.quick { &COUNTS[..3] } else { &COUNTS[..] };
    let mut cells = Vec::new();
    for &count in counts {
        let tables = elbow::tables(&rig, count)?;
        cells.extend(elbows(arena, &rig, &tables, latency_ms)?);
    }
    let account = Account::prepare(&rig)?;
    let others = Others { node: account.launch(&rig, "private-a")?, elsewhere: a_strangers_interface(&rig)? };
    for &count in counts {
        let tables = elbow::tables(&rig, count)?;
        cells.extend(others.measure(arena, &rig, &tables, latency_ms)?);
    }
    Ok(Takeover { latency_ms, cells })
}

/// The agent's, and where throttling binds, under throttling too.
fn elbows(arena: &Arena, rig: &Rig, tables: &[String], latency_ms: u64) -> Result<Vec<Cell>> {
    let count = tables.len();
    rig.lab(["latency", "0"])?;
    rig.create(&elbow::balancer(rig, tables)?)?;
    rig.lab(["latency", &latency_ms.to_string()])?;
    let take = |throttled: bool, times: usize| -> Result<Vec<Cell>> {
        let attempts = repeat(times, || {
            if throttled {
                rig.settled(2, elbow::RECOVERY)?;
                rig.lab(["throttle", &BURST.to_string(), &REFILL.to_string()])?;
            }
            elbow::take_over(rig, count)
        })?;
        rig.lab(["throttle", "0", "0"])?;
        Ok(vec![cell(Who::Agent, count, throttled, latency_ms, attempts)])
    };
    let mut cells = take(false, arena.times(5))?;
    if count as f64 > f64::from(BURST) {
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
    node: Node,
    /// Where routes lead before each takeover.
    elsewhere: String,
}

impl Others {
    fn measure(&self, arena: &Arena, rig: &Rig, tables: &[String], latency_ms: u64) -> Result<Vec<Cell>> {
        let count = tables.len();
        let routes = Routes { tables, vip: VIP };
        let bare = Bare::at(rig, &self.node.interface)?;
        let set_latency = |ms: u64| rig.lab(["latency", &ms.to_string()]).map(drop);
        set_latency(0)?;
        bare.create(&routes, &self.elsewhere)?;
        let measure = |who: Who, times: usize, take: &dyn Fn() -> Result<Attempt>| -> Result<Cell> {
            let attempts = repeat(times, || {
                set_latency(0)?;
                bare.replace(&routes, &self.elsewhere)?;
                set_latency(latency_ms)?;
                take()
            })?;
            Ok(cell(who, count, false, latency_ms, attempts))
        };
        // What takes minutes is done once, what takes tens of seconds twice.
        let slow = |few: usize| {
            arena.times(if count >= 50 {
                1
            } else if count >= 20 {
                2
            } else {
                few
            })
        };
        let cells = vec![
            measure(Who::Floor, arena.times(5), &|| {
                let took = bare.replace(&routes, &self.node.interface)?;
                Ok(Attempt { seconds: took.as_secs_f64(), moved: count })
            })?,
            measure(Who::WarmFloor, arena.times(5), &|| {
                let took = bare.replace_again(&routes, &self.node.interface)?;
                Ok(Attempt { seconds: took.as_secs_f64(), moved: count })
            })?,
            measure(Who::Loop, slow(5), &|| original::take_over(rig, &self.node, &routes))?,
            measure(Who::MoveIp, slow(3).min(if count >= 20 { 1 } else { 3 }), &|| {
                move_ip::take_over(rig, &self.node, &routes)
            })?,
        ];
        set_latency(0)?;
        bare.delete(&routes)?;
        Ok(cells)
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

/// An interface in use that is nobody's here.
fn a_strangers_interface(rig: &Rig) -> Result<String> {
    let found = rig.aws(["ec2", "describe-network-interfaces", "--filters", "Name=tag:Name,Values=other"])?;
    lab::evidence::text(&found["NetworkInterfaces"][0]["NetworkInterfaceId"]).context("the seed's stranger")
}
