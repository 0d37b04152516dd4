//! A crowd of clients with repeated requests and long connections. Tests judge a handover by the crowd's report of
//! failed requests and lost connections.

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

/// The time limit of a request, and of open requests when a crowd ends.
const LIMIT: Duration = Duration::from_secs(10);

/// A kind of client.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Requests on new connections at a fixed rate, without waiting for earlier answers.
    Requests {
        /// The time between requests.
        every: Duration,
        /// The path, such as `/slow?ms=500`.
        path: &'static str,
    },
    /// Requests one after another on kept connections.
    KeepAlive {
        /// The number of connections.
        connections: usize,
        /// The time from an answer to the next request.
        pause: Duration,
        path: &'static str,
    },
    /// Uploads of one byte at a time.
    Upload {
        /// The number of connections.
        connections: usize,
        /// The time between bytes.
        every: Duration,
    },
    /// Upgraded connections, like WebSockets, that are idle until the crowd ends.
    Idle {
        /// The number of connections.
        connections: usize,
    },
    /// Downloads of 10 KiB/s.
    Download {
        /// The number of connections.
        connections: usize,
        /// The length of each, in seconds.
        seconds: u64,
    },
}

/// Running clients.
#[derive(Debug)]
pub struct Crowd {
    report: Arc<Mutex<Report>>,
    /// The number of long connections that work.
    open: watch::Receiver<usize>,
    wanted: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

/// What each client gets.
#[derive(Clone)]
struct Place {
    to: SocketAddrV4,
    report: Arc<Mutex<Report>>,
    open: Arc<watch::Sender<usize>>,
    ended: watch::Receiver<bool>,
}

impl Crowd {
    /// Starts the clients on their own thread, in the given network namespace or in this process's.
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
            // A socket belongs to the namespace of the thread that creates it.
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

    /// Waits until all long connections work.
    pub async fn ready(&self, limit: Duration) -> Result<()> {
        let mut open = self.open.clone();
        let all = tokio::time::timeout(limit, open.wait_for(|count| *count >= self.wanted)).await;
        if !matches!(all, Ok(Ok(_))) {
            let count = *self.open.borrow();
            bail!("{count} of {} connections were open after {limit:?}: {:?}", self.wanted, self.report());
        }
        Ok(())
    }

    /// The report so far.
    pub fn report(&self) -> Report {
        self.report.lock().expect("no client panics while it holds the report").clone()
    }

    /// Waits until this many connections are lost.
    pub async fn lost(&self, connections: usize, limit: Duration) -> Result<Report> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let report = self.report();
            if report.lost.len() >= connections {
                return Ok(report);
            }
            if tokio::time::Instant::now() > end {
                bail!("only {} of {connections} connections were lost within {limit:?}", report.lost.len());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets the clients finish: uploads and downloads complete, idle connections send an echo. Blocks.
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
        edit(&mut self.report.lock().expect("no client panics while it holds the report"));
    }

    fn opened(&self) {
        self.note(|report| report.connections += 1);
        self.open.send_modify(|count| *count += 1);
    }

    fn is_over(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits for the crowd's end.
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
    async fn a_crowd_with_a_healthy_target_loses_nothing() {
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
    async fn a_stopped_target_costs_every_connection_and_the_report_has_the_times() {
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
