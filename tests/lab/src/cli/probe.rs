//! `lab probe`: measures one outage as a client sees it.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anstream::print;
use anyhow::{Result, bail};

use super::ask;
use crate::daemon::addresses::CLIENT;
use crate::dir::LabDir;
use crate::network::namespace;
use crate::prober::{Outage, Plan, Probe, Prober, longest_outage};

/// A shorter gap between answers is a slow machine, not an outage.
const HOLE: Duration = Duration::from_millis(100);
/// An outage is over once answers have arrived for this long.
const OVER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends requests until an outage has ended, and prints its length.
pub fn probe(dir: &LabDir, to: SocketAddrV4, every_ms: u64) -> Result<()> {
    ask::need_root()?;
    if !ask::is_up(dir)? {
        bail!("no lab is up; start one with `lab up`");
    }
    let every = Duration::from_millis(every_ms);
    let limit = Duration::from_secs(2);
    let namespace = Some(namespace::behind(CLIENT));
    let prober = Prober::start(Plan { namespace, to, path: "/".to_owned(), every, limit })?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        let notes = prober.notes();
        if let Some(outage) = ended(&notes) {
            print!("{}", told(&notes, outage));
            return Ok(());
        }
    }
    bail!("no outage began and ended within {PATIENCE:?}");
}

/// The outage, if it is over.
fn ended(notes: &[Probe]) -> Option<Outage> {
    let last = notes.iter().filter(|probe| probe.outcome.is_ok()).map(|probe| probe.ended).max()?;
    longest_outage(notes).filter(|outage| outage.length() >= HOLE && last >= outage.to + OVER)
}

fn told(notes: &[Probe], outage: Outage) -> String {
    let failed = notes.iter().filter(|probe| probe.outcome.is_err()).count();
    format!(
        "last answer before the outage at {:.3} s, first answer after it at {:.3} s: outage of {:.3} s\n\
         ({} requests, each on a new connection: {failed} failed, the others were answered at once or after TCP \
         retransmissions)\n",
        outage.from.as_secs_f64(),
        outage.to.as_secs_f64(),
        outage.length().as_secs_f64(),
        notes.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(ended: u64) -> Probe {
        let ended = Duration::from_millis(ended);
        Probe { sent: ended, ended, outcome: Ok("target-a".to_owned()) }
    }

    #[test]
    fn an_outage_is_over_once_answers_have_arrived_for_a_second() {
        let mut notes = vec![good(0), good(10), good(700), good(710)];
        assert_eq!(ended(&notes), None);
        notes.push(good(1800));
        let outage = ended(&notes);
        // The gap from 710 ms to 1800 ms is a longer outage, which isn't over yet.
        assert_eq!(outage.map(|outage| outage.from), None);
        notes.extend((71..180).map(|tick| good(tick * 10)));
        assert_eq!(ended(&notes).map(Outage::length), Some(Duration::from_millis(690)));
    }
}
