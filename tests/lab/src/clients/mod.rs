//! A crowd of clients: some ask again and again, some keep a connection for as long as the crowd is there. What became
//! of their requests and of their connections, and when, is what a move of a virtual IP is judged by.

mod asking;
mod lasting;
mod report;

use std::future::Future;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::{oneshot, watch};

use crate::network::namespace;
pub use report::{Failure, Loss, Report};

/// How long a request may take, and how long an ended crowd waits for what is under way.
const LIMIT: Duration = Duration::from_secs(10);

/// What clients of one kind do.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A request on a new connection, at that pace, whether or not the ones before have been answered.
    Requests {
        /// From one to the next.
        every: Duration,
        /// What is asked for, such as `/slow?ms=500`.
        path: &'static str,
    },
    /// Requests one after another on connections that are kept.
    KeepAlive {
        /// How many.
        connections: usize,
        /// From an answer to the next request.
        pause: Duration,
        /// What is asked for.
        path: &'static str,
    },
    /// An upload that never seems to end: a byte at a time, each sent at once.
    Upload {
        /// How many.
        connections: usize,
        /// From one byte to the next.
        every: Duration,
    },
    /// A connection that has changed protocols, as WebSockets do, and says nothing until the crowd ends.
    Idle {
        /// How many.
        connections: usize,
    },
    /// A download of 10 KiB a second.
    Download {
        /// How many.
        connections: usize,
        /// How long each takes.
        seconds: u64,
    },
}

/// Clients at work.
#[derive(Debug)]
pub struct Crowd {
    report: Arc<Mutex<Report>>,
    /// How many connections that are to last are open and have been answered or served.
    open: watch::Receiver<usize>,
    wanted: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

/// What each client has.
#[derive(Clone)]
struct Place {
    to: SocketAddrV4,
    report: Arc<Mutex<Report>>,
    open: Arc<watch::Sender<usize>>,
    ended: watch::Receiver<bool>,
}

impl Crowd {
    /// Starts them, on a thread of their own, inside a network namespace if one is named.
    pub fn start(namespace: Option<String>, to: SocketAddrV4, kinds: Vec<Kind>) -> Result<Crowd> {
        let report = Arc::new(Mutex::new(Report::default()));
        let (count, open) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let wanted = kinds.iter().map(lasting_connections).sum();
        let (ending, ended) = watch::channel(false);
        let place = Place { to, report: report.clone(), open: Arc::new(count), ended };
        let work = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let crowd = async move {
                let clients = futures::future::join_all(kinds.iter().flat_map(|kind| clients(kind, &place)));
                let end = async {
                    let _ = stopped.await;
                    ending.send_replace(true);
                };
                tokio::join!(clients, end);
            };
            // Sockets belong to the namespace that their thread is in when it makes them.
            match namespace {
                Some(name) => namespace::enter(&name, move || runtime.block_on(crowd)),
                None => {
                    runtime.block_on(crowd);
                    Ok(())
                }
            }
        };
        let thread = std::thread::Builder::new().name("clients".to_owned()).spawn(work)?;
        Ok(Crowd { report, open, wanted, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits until every connection that is to last is open.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        let mut open = self.open.clone();
        let all = tokio::time::timeout(limit, open.wait_for(|count| *count >= self.wanted)).await;
        if !matches!(all, Ok(Ok(_))) {
            let count = *self.open.borrow();
            bail!("{count} of {} connections were open after {limit:?}: {:?}", self.wanted, self.report());
        }
        Ok(())
    }

    /// What they have seen so far.
    pub fn report(&self) -> Report {
        self.report.lock().expect("no client panics with the report in hand").clone()
    }

    /// Waits until so many connections were lost; how many were when it gave up, if they weren't.
    pub async fn lost(&self, connections: usize, limit: Duration) -> Result<Report> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let report = self.report();
            if report.lost.len() >= connections {
                return Ok(report);
            }
            if tokio::time::Instant::now() > end {
                bail!("{} of {connections} connections were lost within {limit:?}, the others hang", report.lost.len());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets them end as they would: uploads are completed, downloads waited for, the idle say something. Blocks.
    pub fn finish(mut self) -> Result<Report> {
        self.end()?;
        Ok(self.report())
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        match self.thread.take().map(std::thread::JoinHandle::join) {
            Some(Err(_)) => bail!("a client panicked"),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

type Client = Pin<Box<dyn Future<Output = ()> + Send>>;

fn clients(kind: &Kind, place: &Place) -> Vec<Client> {
    let many = |count: usize, client: &dyn Fn(Place) -> Client| (0..count).map(|_| client(place.clone())).collect();
    match *kind {
        Kind::Requests { every, path } => vec![Box::pin(asking::anew(place.clone(), every, path))],
        Kind::KeepAlive { connections, pause, path } => {
            many(connections, &|place| Box::pin(asking::kept(place, pause, path)))
        }
        Kind::Upload { connections, every } => many(connections, &|place| Box::pin(lasting::upload(place, every))),
        Kind::Idle { connections } => many(connections, &|place| Box::pin(lasting::idle(place))),
        Kind::Download { connections, seconds } => {
            many(connections, &|place| Box::pin(lasting::download(place, seconds)))
        }
    }
}

fn lasting_connections(kind: &Kind) -> usize {
    match *kind {
        Kind::Requests { .. } => 0,
        Kind::KeepAlive { connections, .. }
        | Kind::Upload { connections, .. }
        | Kind::Idle { connections }
        | Kind::Download { connections, .. } => connections,
    }
}

impl Place {
    fn note(&self, edit: impl FnOnce(&mut Report)) {
        edit(&mut self.report.lock().expect("no client panics with the report in hand"));
    }

    fn opened(&self) {
        self.note(|report| report.connections += 1);
        self.open.send_modify(|count| *count += 1);
    }

    fn is_over(&self) -> bool {
        *self.ended.borrow()
    }

    /// Until the crowd is told to end.
    async fn over(&mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Kind> {
        let every = Duration::from_millis(10);
        vec![
            Kind::Requests { every, path: "/" },
            Kind::KeepAlive { connections: 2, pause: every, path: "/slow?ms=5" },
            Kind::Upload { connections: 2, every },
            Kind::Idle { connections: 1 },
            Kind::Download { connections: 1, seconds: 1 },
        ]
    }

    fn target() -> (tokio::task::JoinHandle<()>, SocketAddrV4) {
        let (listener, address) = crate::serving::testing::loopback();
        let std::net::SocketAddr::V4(address) = address else { panic!("an IPv4 address") };
        let served = tokio::spawn(async move { drop(crate::targets::serve(listener, "target-a").await) });
        (served, address)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crowd_whose_target_stays_loses_nothing() {
        let (_served, to) = target();
        let crowd = Crowd::start(None, to, kinds()).unwrap();
        crowd.ready(LIMIT).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let report = tokio::task::spawn_blocking(|| crowd.finish()).await.unwrap().unwrap();
        assert!(report.failed.is_empty() && report.lost.is_empty(), "{report:?}");
        assert!(report.requests > 20 && report.connections == 6, "{report:?}");
        assert!(report.longest_gap() < Duration::from_secs(1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_target_that_goes_away_costs_every_connection_and_the_time_of_it_is_known() {
        let (served, to) = target();
        let kinds = kinds().into_iter().filter(|kind| !matches!(kind, Kind::Idle { .. })).collect();
        let crowd = Crowd::start(None, to, kinds).unwrap();
        crowd.ready(LIMIT).await.unwrap();
        let cut = std::time::Instant::now();
        served.abort();
        let report = crowd.lost(5, LIMIT).await.unwrap();
        assert!(report.lost_after(cut).iter().all(|time| *time < Duration::from_secs(5)), "{report:?}");
        let report = tokio::task::spawn_blocking(|| crowd.finish()).await.unwrap().unwrap();
        assert!(!report.failed.is_empty());
    }
}
