//! The client for moto: a pool of connections on loopback.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use crate::serving::{Body, whole};

/// Concurrent requests to moto. It has 16 threads, and its server accepts at most 100 connections, idle ones included;
/// further requests wait here.
const AT_ONCE: usize = 32;

/// How long an idle connection is kept. moto's server closes one after two minutes, and no request may meet that.
const IDLE: Duration = Duration::from_secs(30);

/// A client of moto. Clones share one pool, which belongs to the runtime that uses it.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client<HttpConnector, Body>,
    base: Arc<str>,
    places: Arc<Semaphore>,
}

impl Upstream {
    /// A client of moto at `url`, such as `http://127.0.0.1:5000`.
    pub fn new(url: &str) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(AT_ONCE)
            .build(connector);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Upstream { client, base: url.trim_end_matches('/').into(), places }
    }

    /// The URI of `path` with its query.
    pub fn uri(&self, path: &str) -> anyhow::Result<Uri> {
        format!("{}{path}", self.base).parse().with_context(|| format!("{path}: not a valid path"))
    }

    /// Sends a request unchanged and waits for the head of the answer. The answer's body must be read or dropped: until
    /// then, it counts as one of the concurrent requests.
    pub async fn send(&self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        let place = self.places.clone().acquire_owned().await?;
        let answer = self.client.request(request).await.with_context(|| format!("asking moto at {}", self.base))?;
        Ok(answer.map(|body| {
            let failed = move |error: hyper::Error| {
                let _held = &place;
                std::io::Error::other(error)
            };
            body.map_err(failed).boxed_unsync()
        }))
    }

    /// The complete answer.
    pub async fn complete(&self, answer: Response<Body>) -> anyhow::Result<Response<Bytes>> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await.with_context(|| format!("reading moto's answer from {}", self.base))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The body at one of moto's control paths (`/lab/…`). An answer other than 200 is an error.
    pub async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let request = Request::get(self.uri(path)?).body(Body::default())?;
        self.ask(path, request).await
    }

    /// Posts JSON to one of moto's control paths. An answer other than 200 is an error.
    pub async fn post(&self, path: &str, json: &serde_json::Value) -> anyhow::Result<Bytes> {
        let request =
            Request::post(self.uri(path)?).header("content-type", "application/json").body(whole(json.to_string()))?;
        self.ask(path, request).await
    }

    async fn ask(&self, path: &str, request: Request<Body>) -> anyhow::Result<Bytes> {
        let answer = self.complete(self.send(request).await?).await?;
        let text = String::from_utf8_lossy(answer.body());
        ensure!(answer.status() == 200, "{path}: moto answered {}: {}", answer.status(), text.trim());
        Ok(answer.into_body())
    }
}
