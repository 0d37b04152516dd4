//! Asks HAProxy's own Prometheus exporter, which listens on loopback only.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::CONNECTION;
use templates::paths::STATS_PORT;

/// The time limit for an answer and its body: Prometheus' default for a scrape.
const LIMIT: Duration = Duration::from_secs(10);

/// The exporter.
#[derive(Debug, Clone)]
pub struct Exporter {
    http: reqwest::Client,
    address: SocketAddr,
}

impl Exporter {
    /// That of this node's HAProxy.
    pub fn new(http: reqwest::Client) -> Exporter {
        Exporter::at(http, SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT)))
    }

    /// The same at another address.
    pub(crate) fn at(http: reqwest::Client, address: SocketAddr) -> Exporter {
        Exporter { http, address }
    }

    /// HAProxy's answer, 501 if it is built without the exporter. `query` chooses metrics, such as `scope=frontend`.
    pub async fn ask(&self, query: Option<&str>) -> reqwest::Result<reqwest::Response> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let request = self.http.get(format!("http://{}/metrics{query}", self.address));
        // A kept connection would lead to the old process after a reload.
        request.header(CONNECTION, "close").timeout(LIMIT).send().await
    }
}
