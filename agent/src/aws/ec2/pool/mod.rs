//! Connections to the API that are open before they are needed. A handshake is no API call and costs none of the
//! account's budget, but takes two round trips where a takeover has time for one. So a few connections stand open all
//! the time, and are opened anew when the other side closes them, which AWS's endpoints do after some seconds or
//! minutes without a request (undocumented; between 5 s and more than a minute were seen by users of its SDKs).

mod connection;
mod limits;
mod refill;
#[cfg(test)]
mod tests;

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

use super::names::Remembered;
use super::reach::Reach;
use connection::{Connection, Target};
use limits::Limits;
use refill::Refill;

/// More would help no takeover that is worth the memory: the rest is opened at once when it is needed.
const MOST: usize = 8;
/// How long one stands ready at most: the endpoint's addresses change over time.
const OLDEST: Duration = Duration::from_secs(300);
/// How often the pool is looked through, if nothing happens to it.
const TIDY: Duration = Duration::from_secs(10);

/// Connections to one API.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    names: Remembered,
    tls: TlsConnector,
    idle: Mutex<Vec<Connection>>,
    /// Where the last request went: there the next will go.
    target: Mutex<Option<Target>>,
    /// How many are to stand ready.
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
    /// An empty pool that finds hosts by `names` and trusts whom the system trusts.
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

    /// An empty pool for another API, which nobody keeps ready: it finds and trusts as this one does.
    pub(super) fn beside(&self) -> Pool {
        Pool::with(self.0.names.clone(), self.0.tls.clone())
    }

    /// From now on as many connections stand ready as `calls` made at once could use, up to a limit.
    pub(super) fn prepare_for(&self, calls: usize) {
        if self.0.wanted.swap(calls.clamp(1, MOST), Ordering::Relaxed) != calls.clamp(1, MOST) {
            self.0.ended.notify_one();
        }
    }

    /// Keeps them ready, for ever.
    pub(super) async fn keep_ready(&self) {
        let (mut refill, mut openings) = (Refill::new(Instant::now()), FuturesUnordered::new());
        loop {
            self.tidy();
            let target = self.0.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let there = self.idle().len() + openings.len();
            // A doubt is settled by trying, also where enough connections seem to stand ready: one at a time.
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
                        tracing::debug!(%error, "cannot open a connection ahead of time");
                        // Those that were opened at once fail as one.
                        if openings.is_empty() {
                            refill.failed();
                        }
                    }
                },
                _ = tokio::time::timeout(TIDY, self.0.ended.notified()) => {}
            }
        }
    }

    /// Whether the API hasn't been reached for a while.
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
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake takes too long"));
        let opened = self.in_time(opening).await.unwrap_or_else(late);
        if opened.is_err() {
            self.failed(began);
        }
        opened
    }

    /// Waits for an answer for as long as the API is known to take.
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

    /// A connection to the target that stands ready, if there is one. Those to another are closed.
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

    /// A connection: one that is ready, or the first to be there of a new one, one that another call is done with, and,
    /// if the new one takes long, a spare one beside it.
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

    /// A connection that is being opened; the pool keeps it if no call takes it.
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

    /// Asks over a ready connection if there is one. If that turns out to be dead, it asks again over another: every call of
    /// the agent may be made twice. While a connection lives, its call may succeed, and isn't repeated.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let again = request.try_clone();
        let (target, request) = prepared(request)?;
        *self.0.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let connection = self.connection(&target).await.map_err(io_error)?;
        let stale = connection.used || connection.opened.elapsed() > Duration::from_secs(1);
        match (self.answer(connection, request).await, again) {
            (Err(error), Some(again)) if stale && error.is_io() => {
                self.failed(Instant::now());
                tracing::debug!(%error, "a connection that stood ready was dead, asking over another");
                // The others are likely to be as dead, and finding out takes time.
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
        // The limits are this module's own.
        SharedHttpConnector::new(self.clone())
    }
}

fn io_error(error: io::Error) -> ConnectorError {
    match error.kind() {
        io::ErrorKind::TimedOut => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}

/// Where a request goes, and the request as it is written on that connection.
fn prepared(request: HttpRequest) -> Result<(Target, Request<SdkBody>), ConnectorError> {
    let user = |text: &str| ConnectorError::user(text.into());
    let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or_else(|| user("the endpoint names no host"))?;
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

/// Whom the system trusts.
fn trust() -> ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(errors = ?found.errors, "this system trusts no certificate, the API can't be reached: install ca-certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("ring speaks TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth()
}
