//! Caches the addresses of the API's names. A resolver may fail with its availability zone, and twenty connections
//! opened at once need only one lookup. An interface endpoint has an address in each zone, and a lost zone's address
//! drops all packets, so each connection begins with the next address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long an answer is used without a new lookup. AWS's API addresses stay valid well beyond their names' TTL.
const FRESH: Duration = Duration::from_secs(120);
/// How often known names are looked up ahead of time, so that a takeover's connections find a fresh answer.
const EVERY: Duration = Duration::from_secs(45);
/// How long a call waits for the resolver before it uses the last known answer. A later answer is kept for the next
/// call.
const LIMIT: Duration = Duration::from_millis(400);

/// The system's resolver, with a cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    known: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<HashMap<String, Lookup>>>,
    turn: Arc<AtomicUsize>,
}

/// The result of a lookup under way.
type Lookup = watch::Receiver<Option<Result<Vec<IpAddr>, String>>>;

#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    addresses: Vec<IpAddr>,
}

impl Remembered {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Lookup>> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Looks up every known name ahead of time; never returns.
    pub(super) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let names: Vec<String> = self.known().keys().cloned().collect();
            for name in names {
                if let Err(error) = self.ask(&name).await {
                    tracing::warn!(host = %name, %error, "no answer from the resolver; using the last known addresses");
                }
            }
        }
    }

    /// The addresses of `name`, rotated by one at each call.
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

    /// Starts a lookup, or joins the one under way. A lookup that outlasts the limit goes on for the next call.
    async fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut lookup = self.lookup(name)?;
        let said = tokio::time::timeout(LIMIT, lookup.wait_for(Option::is_some)).await;
        match said.ok().and_then(Result::ok).and_then(|said| said.clone()) {
            Some(said) => said.map_err(io::Error::other),
            None => Err(io::Error::other(format!("no answer from the resolver about {name}"))),
        }
    }

    /// The lookup of `name`: one at a time, in its own thread. getaddrinfo(3) blocks while a resolver is silent, and
    /// the runtime has few blocking threads.
    fn lookup(&self, name: &str) -> io::Result<Lookup> {
        let mut asked = self.asked();
        if let Some(lookup) = asked.get(name) {
            return Ok(lookup.clone());
        }
        let (said, lookup) = watch::channel(None);
        let (names, asking) = (self.clone(), name.to_owned());
        std::thread::Builder::new().name("resolver".into()).spawn(move || {
            let found = (asking.as_str(), 0).to_socket_addrs().map_err(|error| error.to_string());
            let found = found.map(|sockets| sockets.map(|socket| socket.ip()).collect::<Vec<IpAddr>>());
            if let Ok(addresses) = &found {
                names.known().insert(asking.clone(), Answer { at: Instant::now(), addresses: addresses.clone() });
            }
            names.asked().remove(&asking);
            said.send_replace(Some(found));
        })?;
        asked.insert(name.to_owned(), lookup.clone());
        Ok(lookup)
    }
}

/// Rotates `addresses` by `turn`.
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
    async fn a_silent_resolver_is_asked_once_and_its_late_answer_is_used() {
        let names = Remembered::default();
        let (said, lookup) = watch::channel(None);
        names.asked().insert("slow.invalid".into(), lookup);
        let asked = (0..20).map(|_| names.ask("slow.invalid"));
        assert!(futures::future::join_all(asked).await.iter().all(Result::is_err));
        let (answer, ()) = tokio::join!(names.ask("slow.invalid"), async {
            said.send_replace(Some(Ok(vec![IpAddr::from([192, 0, 2, 7])])));
        });
        assert_eq!(answer.unwrap(), [IpAddr::from([192, 0, 2, 7])]);
    }

    #[tokio::test]
    async fn a_finished_lookup_is_removed() {
        let names = Remembered::default();
        names.ask("localhost").await.unwrap();
        assert!(names.asked().is_empty());
        assert!(names.ask("no-such-name.invalid").await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error() {
        assert!(Remembered::default().resolve("no-such-name.invalid").await.is_err());
    }
}
