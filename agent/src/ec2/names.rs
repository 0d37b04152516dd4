//! Addresses of the API's names, remembered: when an availability zone goes, so may its resolver for a while, and
//! twenty connections opened at once need not ask twenty times. An interface endpoint has an address in each zone, and
//! the one in a zone that is gone swallows what is sent to it: so each connection begins with another.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long an answer is used without asking again. AWS's API addresses stay valid well beyond their names' TTL.
const FRESH: Duration = Duration::from_secs(120);
/// How often known names are asked for ahead of time: a connection that is kept open asks for none, and twenty that are
/// opened in a hurry must not be the first to.
const EVERY: Duration = Duration::from_secs(45);
/// How long a resolver may think before the last known answer is used. What it says later is used the next time.
const LIMIT: Duration = Duration::from_millis(400);

/// The system's resolver, with a memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    known: Arc<Mutex<HashMap<String, Answer>>>,
    turn: Arc<AtomicUsize>,
}

#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    addresses: Vec<IpAddr>,
}

impl Remembered {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks for every known name ahead of time, for ever.
    pub(super) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let names: Vec<String> = self.known().keys().cloned().collect();
            for name in names {
                if let Err(error) = self.ask(&name).await {
                    tracing::warn!("the resolver doesn't answer, using what {name} was before: {error}");
                }
            }
        }
    }

    /// The addresses of `name`, beginning with another each time.
    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.known().get(name).cloned();
        let addresses = match known {
            Some(answer) if answer.at.elapsed() < FRESH => answer.addresses,
            known => match (self.ask(name).await, known) {
                (Ok(addresses), _) => addresses,
                (Err(_), Some(stale)) => stale.addresses,
                (Err(error), None) => return Err(error),
            },
        };
        Ok(from(addresses, self.turn.fetch_add(1, Ordering::Relaxed)))
    }

    /// Asks the resolver. Not waited for without a limit, but heard out: a slow one must not be asked in vain for ever.
    async fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let silence = |_| io::Error::other(format!("no answer from the resolver about {name}"));
        let (names, asked) = (self.clone(), name.to_owned());
        let lookup = tokio::spawn(async move {
            let found = tokio::net::lookup_host((asked.as_str(), 0)).await?;
            let addresses: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
            names.known().insert(asked, Answer { at: Instant::now(), addresses: addresses.clone() });
            Ok(addresses)
        });
        tokio::time::timeout(LIMIT, lookup).await.map_err(silence)?.map_err(io::Error::other)?
    }
}

/// `addresses` in the same circle, beginning with another each `turn`.
fn from(mut addresses: Vec<IpAddr>, turn: usize) -> Vec<IpAddr> {
    let first = turn % addresses.len().max(1);
    addresses.rotate_left(first);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembering(name: &str, at: Instant) -> Remembered {
        let names = Remembered::default();
        let answer = Answer { at, addresses: vec![IpAddr::from([192, 0, 2, 7])] };
        names.known.lock().unwrap().insert(name.to_owned(), answer);
        names
    }

    #[tokio::test]
    async fn a_fresh_answer_is_used_without_asking() {
        let names = remembering("localhost", Instant::now());
        assert_eq!(names.resolve("localhost").await.unwrap(), [IpAddr::from([192, 0, 2, 7])]);
    }

    #[tokio::test]
    async fn an_old_answer_is_used_when_the_resolver_has_none() {
        let names = remembering("no-such-name.invalid", Instant::now() - FRESH - LIMIT);
        assert_eq!(names.resolve("no-such-name.invalid").await.unwrap(), [IpAddr::from([192, 0, 2, 7])]);
    }

    #[tokio::test]
    async fn an_old_answer_gives_way_to_a_new_one() {
        let names = remembering("localhost", Instant::now() - FRESH - LIMIT);
        assert!(names.resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
    }

    #[tokio::test]
    async fn each_connection_begins_with_another_address() {
        let addresses = [1, 2].map(|last| IpAddr::from([192, 0, 2, last])).to_vec();
        let names = remembering("localhost", Instant::now());
        names.known().get_mut("localhost").unwrap().addresses = addresses.clone();
        let first = names.resolve("localhost").await.unwrap();
        let second = names.resolve("localhost").await.unwrap();
        assert_eq!([first[0], second[0]], [addresses[0], addresses[1]]);
        assert_eq!(second.len(), 2);
        assert!(from(Vec::new(), 3).is_empty());
    }

    #[tokio::test]
    async fn a_name_never_heard_of_is_an_error() {
        assert!(Remembered::default().resolve("no-such-name.invalid").await.is_err());
    }
}
