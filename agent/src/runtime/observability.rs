//! Starts the node's telemetry: the metrics page, and the webhook's courier if a webhook is configured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use templates::balancer::Metrics;
use tokio::sync::watch;

use crate::config::boot::Node;
use crate::haproxy::Exporter;
use crate::host::http;
use crate::node::tables::Table;
use crate::polling::refresh::Latest;
use crate::target_health::Snapshot;
use crate::telemetry::metrics::{self, Allowances, Kernel, Page, Readings, Sources, Takeovers, Told};
use crate::telemetry::notify::{self, Outbox, Sender};
use crate::telemetry::recorder::Recorder;

/// The recorder of roles and routes, and the pages of metrics and targets.
pub(super) struct Watched {
    pub recorder: Recorder,
    pub page: Router,
}

/// Starts the courier, if there is a webhook, and the tasks behind the metrics.
pub(super) fn start(
    node: &Node,
    outbox: &Outbox,
    tables: watch::Receiver<Latest<Table>>,
    targets: watch::Receiver<Snapshot>,
) -> anyhow::Result<Watched> {
    let balancer = &node.local.balancer;
    let told = balancer.notify.as_ref().map(|_| Told::default());
    if let (Some(notify), Some(told)) = (&balancer.notify, &told) {
        let sender = Sender { region: node.facts.region.clone(), vpc: node.facts.vpc.clone() };
        notify::start(notify.webhook.clone(), outbox.clone(), told.clone(), node.board.clone(), sender)?;
    }
    let takeovers = Takeovers::of(&balancer.virtual_ips);
    let recorder = Recorder::new(node.board.clone(), outbox.clone(), takeovers.clone());
    let at_boot = node.tables.is_some() && !node.outdated;
    let read = Arc::new(Mutex::new(at_boot.then(SystemTime::now)));
    tokio::spawn(note(tables, read.clone()));
    let readings = {
        let (recorder, api, targets) = (recorder.clone(), node.api.clone(), targets.clone());
        move || Readings {
            wrong: recorder.wrong(),
            credentials_end: api.credentials_end(),
            routes_read: *read.lock().unwrap_or_else(PoisonError::into_inner),
            targets: targets.borrow().counts(),
        }
    };
    let (kernel, allowances) = (Kernel::default(), Allowances::default());
    tokio::spawn(kernel.clone().follow());
    tokio::spawn(allowances.clone().follow(node.local.interface.clone()));
    let (calls, readings) = (node.api.calls.clone(), Box::new(readings));
    let sources = Sources { calls, takeovers, kernel, allowances, told, readings };
    let readers = balancer.metrics.clone().map_or_else(Vec::new, |Metrics { clients }| clients);
    let page = Page::new(&balancer.name, readers, sources)?;
    let exporter = Exporter::new(http::client()?);
    Ok(Watched { recorder, page: metrics::serve(node.board.clone(), page, targets, exporter) })
}

/// Keeps the time of the last read of the route tables, until the refresher ends.
async fn note(mut tables: watch::Receiver<Latest<Table>>, read: Arc<Mutex<Option<SystemTime>>>) {
    while tables.changed().await.is_ok() {
        if tables.borrow_and_update().answered {
            *read.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        }
    }
}
