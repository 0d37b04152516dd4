//! For tests: an IMDS on loopback that requires tokens, like a real one with `HttpTokens=required`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};

use super::Imds;

pub struct Server {
    address: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    values: BTreeMap<String, String>,
    given: usize,
    oldest_valid: usize,
    refuse: bool,
}

impl Server {
    pub async fn start(values: &[(&str, &str)]) -> Server {
        let values = values.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect();
        let inner = Arc::new(Mutex::new(Inner { values, oldest_valid: 1, ..Inner::default() }));
        let app = Router::new()
            .route("/latest/api/token", put(token))
            .route("/latest/{*path}", get(value))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server { address, inner }
    }

    pub fn client(&self) -> Imds {
        Imds::at(&self.address, crate::host::http::client().unwrap())
    }

    pub fn tokens_given(&self) -> usize {
        self.inner.lock().unwrap().given
    }

    pub fn revoke_tokens(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.oldest_valid = inner.given + 1;
    }

    pub fn refuse_tokens(&self) {
        self.inner.lock().unwrap().refuse = true;
    }
}

async fn token(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap) -> Result<String, StatusCode> {
    let mut inner = inner.lock().unwrap();
    if inner.refuse {
        return Err(StatusCode::FORBIDDEN);
    }
    let ttl = headers.get("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.to_str().ok()?.parse().ok());
    match ttl {
        Some(1..=21_600) => {
            inner.given += 1;
            Ok(inner.given.to_string())
        }
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

async fn value(
    State(inner): State<Arc<Mutex<Inner>>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let inner = inner.lock().unwrap();
    let token: Option<usize> =
        headers.get("x-aws-ec2-metadata-token").and_then(|token| token.to_str().ok()?.parse().ok());
    if !token.is_some_and(|token| token >= inner.oldest_valid && token <= inner.given) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    inner.values.get(&path).cloned().ok_or(StatusCode::NOT_FOUND)
}
