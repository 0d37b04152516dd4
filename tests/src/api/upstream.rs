//! The way to moto: a pool of kept connections on loopback.

use std::sync::Arc;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A body that is all there.
pub type Body = Full<Bytes>;

/// moto's server. Clones share one pool, which belongs to the runtime that it is used in.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client<HttpConnector, Body>,
    base: Arc<str>,
}

impl Upstream {
    /// moto at `url`, such as `http://127.0.0.1:5000`.
    pub fn new(url: &str) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector);
        Upstream { client, base: url.trim_end_matches('/').into() }
    }

    /// The address of `path` (with its query).
    pub fn uri(&self, path: &str) -> anyhow::Result<Uri> {
        format!("{}{path}", self.base).parse().with_context(|| format!("{path} is no path"))
    }

    /// Sends a request as it is and waits for the whole answer.
    pub async fn send(&self, request: Request<Body>) -> anyhow::Result<Response<Bytes>> {
        let answer = self.client.request(request).await.with_context(|| format!("asking moto at {}", self.base))?;
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
        let request = Request::post(self.uri(path)?)
            .header("content-type", "application/json")
            .body(Body::from(json.to_string()))?;
        self.ask(path, request).await
    }

    async fn ask(&self, path: &str, request: Request<Body>) -> anyhow::Result<Bytes> {
        let answer = self.send(request).await?;
        let text = String::from_utf8_lossy(answer.body());
        ensure!(answer.status() == 200, "{path}: moto answered {}: {}", answer.status(), text.trim());
        Ok(answer.into_body())
    }
}
