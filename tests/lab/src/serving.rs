//! Serves HTTP on a socket that the caller has bound, because a socket belongs to the namespace where it was created.
//!
//! All of the lab's HTTP servers use it: the API, IMDS, downloads, targets. Dropping the serving future closes the
//! listener and its connections, so that nothing outlives the lab.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// An answer's body: complete, or a stream.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The pause after a failed accept: without file descriptors the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The answer is lost: the connection is closed without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was lost")]
pub struct Lost;

/// A listening socket, with the delay, TLS and idle limit of its connections.
pub struct Door {
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    delay: Arc<dyn Fn() -> Duration + Send + Sync>,
    idle: Option<Duration>,
}

impl Door {
    /// Plain HTTP on this socket.
    pub fn plain(listener: std::net::TcpListener) -> Door {
        Door { listener, tls: None, delay: Arc::new(|| Duration::ZERO), idle: None }
    }

    /// HTTP over TLS on this socket.
    pub fn tls(listener: std::net::TcpListener, config: Arc<rustls::ServerConfig>) -> Door {
        Door { tls: Some(config.into()), ..Door::plain(listener) }
    }

    /// Delays the first read of each new connection.
    pub fn with_delay(mut self, delay: impl Fn() -> Duration + Send + Sync + 'static) -> Door {
        self.delay = Arc::new(delay);
        self
    }

    /// Closes a connection after this long without a request.
    pub fn with_idle_limit(mut self, idle: Duration) -> Door {
        self.idle = Some(idle);
        self
    }

    /// Answers requests until dropped. Fails only if tokio can't use the socket.
    pub async fn serve<H, F>(self, handler: H) -> std::io::Result<Infallible>
    where
        H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Lost>> + Send + 'static,
    {
        self.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.listener)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let greeting = (self.delay.clone(), self.tls.clone(), self.idle);
                        connections.spawn(converse(stream, peer, greeting, handler.clone()));
                    }
                    Err(error) => {
                        warn!(%error, "could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

type Greeting = (Arc<dyn Fn() -> Duration + Send + Sync>, Option<TlsAcceptor>, Option<Duration>);

async fn converse<H, F>(stream: TcpStream, peer: SocketAddr, (delay, tls, idle): Greeting, handler: H)
where
    H: Fn(SocketAddr, Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Body>, Lost>>,
{
    // Without this, the end of an answer may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let wait = delay();
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    match tls {
        None => requests(stream, peer, idle, handler).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => requests(stream, peer, idle, handler).await,
            Err(error) => debug!(%peer, %error, "TLS handshake failed"),
        },
    }
}

async fn requests<I, H, F>(stream: I, peer: SocketAddr, idle: Option<Duration>, handler: H)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(SocketAddr, Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Body>, Lost>>,
{
    let service = service_fn(|request| handler(peer, request));
    let mut http = http1::Builder::new();
    // hyper counts this limit from the previous answer.
    http.timer(TokioTimer::new()).header_read_timeout(idle);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        debug!(%peer, %error, "connection ended");
    }
}

/// A complete body.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub fn answer(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(whole(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    answer
}

/// A plain text answer.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    answer(status, "text/plain", text.into())
}

/// For tests of the servers: a socket on loopback and a client.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A listener on a free port of loopback, and its address.
    pub fn loopback() -> (std::net::TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A connection for many requests, from a chosen loopback address.
    pub struct Caller {
        sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
        _connection: tokio::task::JoinHandle<()>,
    }

    impl Caller {
        /// Connects from this address of 127.0.0.0/8.
        pub async fn from(source: &str, to: SocketAddr) -> Caller {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
            Caller::on(socket.connect(to).await.unwrap()).await
        }

        /// Uses this stream.
        pub async fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Caller {
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(async move {
                let _ = connection.await;
            });
            Caller { sender, _connection: connection }
        }

        /// Whether the server has closed it.
        pub fn is_closed(&self) -> bool {
            self.sender.is_closed()
        }

        /// Sends a request and waits for the whole answer.
        pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        }

        /// Gets a path.
        pub async fn get(&mut self, path: &str) -> Response<Bytes> {
            self.send(Request::get(path).header("host", "lab").body(Full::default()).unwrap()).await.unwrap()
        }
    }

    pub fn text_of(answer: &Response<Bytes>) -> &str {
        std::str::from_utf8(answer.body()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::testing::*;
    use super::*;

    async fn hello(peer: SocketAddr, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
        match request.uri().path() {
            "/lost" => Err(Lost),
            _ => Ok(text(StatusCode::OK, format!("hello {}", peer.ip()))),
        }
    }

    #[tokio::test]
    async fn a_connection_serves_many_requests_and_gives_its_peers_address() {
        let (listener, address) = loopback();
        let served = tokio::spawn(Door::plain(listener).serve(hello));
        let mut caller = Caller::from("127.0.0.7", address).await;
        for _ in 0..3 {
            assert_eq!(text_of(&caller.get("/").await), "hello 127.0.0.7");
        }
        served.abort();
    }

    #[tokio::test]
    async fn a_lost_answer_closes_the_connection() {
        let (listener, address) = loopback();
        let served = tokio::spawn(Door::plain(listener).serve(hello));
        let mut caller = Caller::from("127.0.0.1", address).await;
        assert!(caller.send(Request::get("/lost").body(Full::default()).unwrap()).await.is_err());
        served.abort();
    }

    #[tokio::test]
    async fn dropping_the_server_closes_its_connections() {
        let (listener, address) = loopback();
        let served = tokio::spawn(Door::plain(listener).serve(hello));
        let mut caller = Caller::from("127.0.0.1", address).await;
        caller.get("/").await;
        served.abort();
        assert!(served.await.unwrap_err().is_cancelled());
        assert!(caller.send(Request::get("/").body(Full::default()).unwrap()).await.is_err());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_before_and_after_its_first_request() {
        let (listener, address) = loopback();
        let idle = Duration::from_millis(100);
        let served = tokio::spawn(Door::plain(listener).with_idle_limit(idle).serve(hello));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut caller = Caller::from("127.0.0.1", address).await;
        caller.get("/").await;
        let closed = async {
            let mut buffer = [0; 64];
            while tokio::io::AsyncReadExt::read(&mut silent, &mut buffer).await.is_ok_and(|length| length > 0) {}
            while !caller.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("both are closed");
        served.abort();
    }

    #[tokio::test]
    async fn a_new_connection_waits_and_a_kept_one_does_not() {
        let (listener, address) = loopback();
        let wait = Duration::from_millis(150);
        let served = tokio::spawn(Door::plain(listener).with_delay(move || wait).serve(hello));
        let start = Instant::now();
        let mut caller = Caller::from("127.0.0.1", address).await;
        caller.get("/").await;
        assert!(start.elapsed() >= wait);
        let start = Instant::now();
        caller.get("/").await;
        assert!(start.elapsed() < wait);
        served.abort();
    }
}
