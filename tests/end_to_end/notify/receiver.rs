//! A webhook's receiver with TLS at the client's address in the VPC. It can accept, fail or hang.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::StatusCode;
use lab::daemon::addresses::{CLIENT, CLIENT_ADDRESS};
use lab::network::namespace;
use lab::rig::{Rig, wait_for};
use lab::serving::{Door, text};
use lab::tls::Authority;
use serde_json::Value;
use tokio::task::JoinHandle;

const PORT: u16 = 8443;
/// The AWS host name of the client's address; the VPC's resolver knows it.
const HOST: &str = "ip-10-0-3-10.eu-west-1.compute.internal";
/// The path of the webhook's URL, which must not be visible anywhere.
pub const SECRET: &str = "hook-s3cret";

/// How the receiver answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// 204
    Takes,
    /// 500
    Fails,
    /// No answer.
    Hangs,
}

/// An event that was sent, and how the receiver answered it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub manner: Manner,
    pub event: Value,
}

#[derive(Debug)]
struct ReceiverState {
    manner: Manner,
    sent: Vec<Sent>,
}

/// A receiver that runs until it is dropped, and records all events.
pub struct Receiver {
    desk: Arc<Mutex<ReceiverState>>,
    server: JoinHandle<std::io::Result<Infallible>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Starts a receiver that accepts events.
    pub fn start(rig: &Rig) -> Result<Receiver> {
        let config = Authority::open(&rig.dir().ca())?.server([HOST])?;
        let listener = namespace::bind_tcp(&namespace::behind(CLIENT), SocketAddr::from((CLIENT_ADDRESS, PORT)))?;
        let desk = Arc::new(Mutex::new(ReceiverState { manner: Manner::Takes, sent: Vec::new() }));
        let shared = desk.clone();
        let server = tokio::spawn(Door::tls(listener, config).serve(move |_, request| {
            let desk = shared.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let manner = {
                    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
                    let manner = desk.manner;
                    desk.sent.push(Sent { manner, event });
                    manner
                };
                let status = match manner {
                    _ if path != format!("/{SECRET}") => StatusCode::NOT_FOUND,
                    Manner::Takes => StatusCode::NO_CONTENT,
                    Manner::Fails => StatusCode::INTERNAL_SERVER_ERROR,
                    Manner::Hangs => std::future::pending().await,
                };
                Ok(text(status, ""))
            }
        }));
        Ok(Receiver { desk, server })
    }

    /// The lab's example with this receiver as its webhook and the client's network in `metrics.clients`.
    pub fn balancer(text: String) -> String {
        let notify = format!("[notify]\nwebhook = \"https://{HOST}:{PORT}/{SECRET}\"\n\n");
        text.replacen("[[listener]]", &format!("{notify}[metrics]\nclients = [\"10.0.3.0/24\"]\n\n[[listener]]"), 1)
    }

    /// Sets the answer to events from now on.
    pub fn turn(&self, manner: Manner) {
        self.desk().manner = manner;
    }

    /// All events sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.desk().sent.clone()
    }

    /// All events accepted so far.
    pub fn taken(&self) -> Vec<Value> {
        self.sent().into_iter().filter(|sent| sent.manner == Manner::Takes).map(|sent| sent.event).collect()
    }

    /// Waits for an accepted event of this name from this node that `fits`; returns it.
    pub fn wait(&self, node: &str, name: &str, patience: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(&format!("{name} of {node}"), patience, || {
            let taken = self.taken();
            let found = taken.iter().find(|one| one["event"] == name && one["node"]["instance"] == node && fits(one));
            found.cloned().with_context(|| {
                let names: Vec<String> =
                    taken.iter().map(|one| format!("{} {}", one["node"]["slot"], one["text"])).collect();
                format!("accepted so far: {names:#?}")
            })
        })
    }

    /// Fails if a node's events arrived out of order.
    pub fn in_order(&self) -> Result<()> {
        for taken in
            self.taken().iter().fold(std::collections::BTreeMap::<String, Vec<u64>>::new(), |mut nodes, one| {
                let number = one["sequence"].as_u64().unwrap_or_default();
                nodes.entry(one["node"]["instance"].to_string()).or_default().push(number);
                nodes
            })
        {
            ensure!(taken.1.is_sorted(), "{} sent the sequence {:?}", taken.0, taken.1);
        }
        Ok(())
    }

    fn desk(&self) -> MutexGuard<'_, ReceiverState> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
