//! A webhook's receiver, at the client's place in the VPC, over TLS: the nodes reach it as they reach any host there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::StatusCode;
use lab::daemon::place::{CLIENT, CLIENT_ADDRESS};
use lab::network::namespace;
use lab::rig::{Rig, wait_for};
use lab::serving::{Door, text};
use lab::tls::Authority;
use serde_json::Value;
use tokio::task::JoinHandle;

const PORT: u16 = 8443;
/// What AWS calls the client's address: the VPC's resolver knows it.
const HOST: &str = "ip-10-0-3-10.eu-west-1.compute.internal";
/// What must be seen nowhere.
pub const SECRET: &str = "hook-s3cret";

/// How it treats what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Has trouble of its own.
    Fails,
    /// Never answers.
    Hangs,
}

/// Something that was sent, and how it was treated.
#[derive(Debug, Clone)]
pub struct Sent {
    pub manner: Manner,
    pub event: Value,
}

#[derive(Debug)]
struct Desk {
    manner: Manner,
    sent: Vec<Sent>,
}

/// A receiver that runs until it is dropped, and keeps what it was sent.
pub struct Receiver {
    desk: Arc<Mutex<Desk>>,
    server: JoinHandle<std::io::Result<Infallible>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// One that takes what it is sent.
    pub fn start(rig: &Rig) -> Result<Receiver> {
        let config = Authority::open(&rig.dir().ca())?.server([HOST])?;
        let listener = namespace::bind_tcp(&namespace::behind(CLIENT), SocketAddr::from((CLIENT_ADDRESS, PORT)))?;
        let desk = Arc::new(Mutex::new(Desk { manner: Manner::Takes, sent: Vec::new() }));
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

    /// The lab's example, with this as its webhook and the client's network as readers of metrics.
    pub fn balancer(text: String) -> String {
        let notify = format!("[notify]\nwebhook = \"https://{HOST}:{PORT}/{SECRET}\"\n\n");
        text.replacen("[agent]", &format!("{notify}[metrics]\nclients = [\"10.0.3.0/24\"]\n\n[agent]"), 1)
    }

    /// Treats otherwise what it is sent from now on.
    pub fn turn(&self, manner: Manner) {
        self.desk().manner = manner;
    }

    /// What it was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.desk().sent.clone()
    }

    /// What it has taken so far.
    pub fn taken(&self) -> Vec<Value> {
        self.sent().into_iter().filter(|sent| sent.manner == Manner::Takes).map(|sent| sent.event).collect()
    }

    /// Waits until it has taken an event of this name from this node that fits; gives that.
    pub fn wait(&self, node: &str, name: &str, patience: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(&format!("{name} of {node}"), patience, || {
            let taken = self.taken();
            let found = taken.iter().find(|one| one["event"] == name && one["node"]["instance"] == node && fits(one));
            found.cloned().with_context(|| {
                let names: Vec<String> =
                    taken.iter().map(|one| format!("{} {}", one["node"]["slot"], one["text"])).collect();
                format!("it has taken {names:#?}")
            })
        })
    }

    /// Fails if what a node told came in another order than it happened.
    pub fn in_order(&self) -> Result<()> {
        for taken in
            self.taken().iter().fold(std::collections::BTreeMap::<String, Vec<u64>>::new(), |mut nodes, one| {
                let number = one["sequence"].as_u64().unwrap_or_default();
                nodes.entry(one["node"]["instance"].to_string()).or_default().push(number);
                nodes
            })
        {
            ensure!(taken.1.is_sorted(), "{} told {:?}", taken.0, taken.1);
        }
        Ok(())
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
