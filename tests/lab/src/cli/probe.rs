//! A client's view of an outage, told as it happens: for the demo, and for people who play with the lab.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anstream::print;
use anyhow::{Result, bail};

use super::ask;
use crate::daemon::place::CLIENT;
use crate::dir::LabDir;
use crate::network::namespace;
use crate::prober::{Outage, Plan, Probe, Prober, longest_outage};

/// No answer for that long is an outage, and not a slow machine.
const HOLE: Duration = Duration::from_millis(100);
/// An outage is over when answers have come again for that long.
const OVER: Duration = Duration::from_secs(1);
/// How long to wait for an outage to come and go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there has been an outage, and says how long it was.
pub fn probe(dir: &LabDir, to: SocketAddrV4, every_ms: u64) -> Result<()> {
    ask::need_root()?;
    if !ask::is_up(dir)? {
        bail!("no lab is up: start one with `lab up`");
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
    bail!("no outage came and went within {PATIENCE:?}");
}

/// The outage, if there has been one and answers have come again for long enough.
fn ended(notes: &[Probe]) -> Option<Outage> {
    let last = notes.iter().filter(|probe| probe.outcome.is_ok()).map(|probe| probe.ended).max()?;
    longest_outage(notes).filter(|outage| outage.length() >= HOLE && last >= outage.to + OVER)
}

fn told(notes: &[Probe], outage: Outage) -> String {
    let failed = notes.iter().filter(|probe| probe.outcome.is_err()).count();
    format!(
        "the last answer before came at {:.3} s, the first one after at {:.3} s: nobody was served for {:.3} s\n\
         ({} requests, each a new connection: {failed} failed, the others were answered then or when their client tried \
         again)\n",
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
    fn an_outage_is_told_once_answers_have_come_again_for_a_while() {
        let mut notes = vec![good(0), good(10), good(700), good(710)];
        assert_eq!(ended(&notes), None);
        notes.push(good(1800));
        let outage = ended(&notes);
        // The long silence at the end is another hole: of the test's notes, not of the prober's.
        assert_eq!(outage.map(|outage| outage.from), None);
        notes.extend((71..180).map(|tick| good(tick * 10)));
        assert_eq!(ended(&notes).map(Outage::length), Some(Duration::from_millis(690)));
    }
}
