//! A pool of connections to the API that are open before a takeover needs them. A handshake counts as no API call, but
//! takes two round trips where a takeover has time for one. AWS's endpoints close idle connections after seconds or
//! minutes (undocumented; SDK users report 5 s to more than a minute), and the pool reopens them.

mod connection;
mod refill;
#[cfg(test)]
mod tests;
mod timeouts;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Notify, oneshot};
use tokio::time::error::Elapsed;
use tokio_rustls::TlsConnector;

use super::dns_cache::Remembered;
use super::reachability::Reach;
use connection::{Connection, Target};
use refill::Refill;
use timeouts::Limits;

/// The most connections kept open, to save memory. A takeover opens the rest when it needs them.
const MOST: usize = 8;
/// The oldest idle connection: the endpoint's addresses change over time.
const OLDEST: Duration = Duration::from_secs(300);
/// How often idle connections are checked if no event causes a check.
const TIDY: Duration = Duration::from_secs(10);

/// Connections to one API.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    names: Remembered,
    tls: TlsConnector,
    idle: Mutex<Vec<Connection>>,
    /// The target of the last request. Connections are opened to it ahead of time.
    target: Mutex<Option<Target>>,
    /// How many connections to keep open.
    wanted: AtomicUsize,
    returned: Notify,
    ended: Arc<Notify>,
    reach: Mutex<Reach>,
    limits: Mutex<Limits>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty pool that resolves hosts with `names` and trusts the system's CA certificates.
    pub(super) fn new(names: Remembered) -> Pool {
        Pool::with(names, TlsConnector::from(Arc::new(trust())))
    }

    fn with(names: Remembered, tls: TlsConnector) -> Pool {
        Pool(Arc::new(Shared {
            names,
            tls,
            idle: Mutex::default(),
            target: Mutex::default(),
            wanted: AtomicUsize::new(1),
            returned: Notify::new(),
            ended: Arc::default(),
            reach: Mutex::default(),
            limits: Mutex::default(),
        }))
    }

    /// An empty pool for another API, with the same resolver and certificates. It opens nothing ahead of time.
    pub(super) fn beside(&self) -> Pool {
        Pool::with(self.0.names.clone(), self.0.tls.clone())
    }

    /// Keeps as many connections open as `calls` at once could use, up to [`MOST`].
    pub(super) fn prepare_for(&self, calls: usize) {
        if self.0.wanted.swap(calls.clamp(1, MOST), Ordering::Relaxed) != calls.clamp(1, MOST) {
            self.0.ended.notify_one();
        }
    }

    /// Opens and replaces idle connections; never returns.
    pub(super) async fn keep_ready(&self) {
        let (mut refill, mut openings) = (Refill::new(Instant::now()), FuturesUnordered::new());
        loop {
            self.tidy();
            let target = self.0.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let there = self.idle().len() + openings.len();
            // After a failure a new connection tests the API, even if enough connections seem to be open.
            let due = match self.reach().is_doubtful() {
                true => openings.is_empty(),
                false => there < self.0.wanted.load(Ordering::Relaxed),
            };
            if let (Some(target), true) = (target, due) {
                let pause = refill.pause(Instant::now());
                openings.push(async move {
                    tokio::time::sleep(pause).await;
                    self.open(&target).await
                });
                continue;
            }
            tokio::select! {
                Some(opened) = openings.next() => match opened {
                    Ok(connection) => {
                        refill.succeeded();
                        self.put_back(connection);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot open a spare connection to the EC2 API");
                        // Connections opened at the same time count as one failure.
                        if openings.is_empty() {
                            refill.failed();
                        }
                    }
                },
                _ = tokio::time::timeout(TIDY, self.0.ended.notified()) => {}
            }
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.reach().is_lost(Instant::now())
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.0.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.0.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tidy(&self) {
        let wanted = self.0.wanted.load(Ordering::Relaxed);
        let mut idle = self.idle();
        idle.retain(|connection| connection.is_open() && connection.opened.elapsed() < OLDEST);
        let surplus = idle.len().saturating_sub(wanted);
        idle.drain(..surplus);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, target: &Target) -> io::Result<Connection> {
        let opening = async {
            let addresses = self.0.names.resolve(&target.host).await?;
            connection::open(target, addresses, &self.0.tls, self.0.ended.clone()).await
        };
        let began = Instant::now();
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "opening a connection timed out"));
        let opened = self.in_time(opening).await.unwrap_or_else(late);
        if opened.is_err() {
            self.failed(began);
        }
        opened
    }

    /// Waits for an answer, with the limit that the API's speed allows.
    async fn in_time<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>, Elapsed> {
        let (began, limit) = (Instant::now(), self.limits().answer());
        let answer = tokio::time::timeout(limit, answer).await;
        match &answer {
            Ok(Ok(_)) => {
                self.limits().answered(began.elapsed());
                self.reach().reached(Instant::now());
            }
            Ok(Err(_)) => {}
            Err(_) => self.limits().gave_up(limit),
        }
        answer
    }

    fn failed(&self, began: Instant) {
        self.reach().failed(began);
        self.0.ended.notify_one();
    }

    /// Takes an idle connection to the target, if any. Connections to other targets are closed.
    fn take(&self, target: &Target) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|connection| connection.is_open() && connection.target == *target);
        idle.pop()
    }

    fn put_back(&self, connection: Connection) {
        if connection.is_open() {
            self.idle().push(connection);
            self.0.returned.notify_one();
        }
    }

    /// An idle connection, or the first available of: a new one, one that another call returns, and a spare one. The
    /// spare one is opened if the new one is slow.
    async fn connection(&self, target: &Target) -> io::Result<Connection> {
        if let Some(ready) = self.take(target) {
            return Ok(ready);
        }
        let mut openings = FuturesUnordered::from_iter([self.opening(target)]);
        let mut spare = std::pin::pin!(tokio::time::sleep(self.limits().spare()));
        loop {
            tokio::select! {
                Some(opened) = openings.next() => return opened.unwrap_or_else(|lost| Err(io::Error::other(lost))),
                () = self.0.returned.notified() => {
                    if let Some(ready) = self.take(target) {
                        return Ok(ready);
                    }
                }
                () = &mut spare, if !spare.is_elapsed() => openings.push(self.opening(target)),
            }
        }
    }

    /// Opens a connection. If no call takes it, the pool keeps it.
    fn opening(&self, target: &Target) -> oneshot::Receiver<io::Result<Connection>> {
        let (opened, opening) = oneshot::channel();
        let (pool, target) = (self.clone(), target.clone());
        tokio::spawn(async move {
            let outcome = pool.open(&target).await;
            if let Err(Ok(unwanted)) = opened.send(outcome) {
                pool.put_back(unwanted);
            }
        });
        opening
    }

    /// Sends a request, over an idle connection if there is one. If that one is dead, the request is sent again over
    /// another: each call of the agent may be made twice. While a connection lives, its call isn't repeated.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let again = request.try_clone();
        let (target, request) = prepared(request)?;
        *self.0.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let connection = self.connection(&target).await.map_err(io_error)?;
        let stale = connection.used || connection.opened.elapsed() > Duration::from_secs(1);
        match (self.answer(connection, request).await, again) {
            (Err(error), Some(again)) if stale && error.is_io() => {
                self.failed(Instant::now());
                tracing::debug!(%error, "idle connection was dead; sending the request over another");
                // The other idle connections are probably dead as well.
                self.idle().clear();
                let another = self.connection(&target).await.map_err(io_error)?;
                finished(self.answer(another, prepared(again)?.1).await?)
            }
            (answer, _) => finished(answer?),
        }
    }

    async fn answer(
        &self,
        mut connection: Connection,
        request: Request<SdkBody>,
    ) -> Result<Response<Bytes>, ConnectorError> {
        let answer =
            self.in_time(connection.ask(request)).await.map_err(|late| ConnectorError::timeout(late.into()))?;
        let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
        self.put_back(connection);
        Ok(answer)
    }
}

impl HttpConnector for Pool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pool = self.clone();
        HttpConnectorFuture::new(async move { pool.ask(request).await })
    }
}

impl HttpClient for Pool {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The pool applies its own time limits.
        SharedHttpConnector::new(self.clone())
    }
}

fn io_error(error: io::Error) -> ConnectorError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}

/// The target of a request, and the request in the form to send.
fn prepared(request: HttpRequest) -> Result<(Target, Request<SdkBody>), ConnectorError> {
    let user = |text: &str| ConnectorError::user(text.into());
    let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or_else(|| user("the endpoint URL has no host"))?;
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let target = Target { tls, host: authority.host().to_owned(), port };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| ConnectorError::user(error.into()))?;
    request.headers_mut().entry(HOST).or_insert(host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| ConnectorError::user(error.into()))?;
    Ok((target, request))
}

fn finished(answer: Response<Bytes>) -> Result<HttpResponse, ConnectorError> {
    HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
}

/// A TLS configuration that trusts the system's CA certificates.
fn trust() -> ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(errors = ?found.errors, "no usable CA certificates for the EC2 API; install ca-certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("ring speaks TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth()
}
