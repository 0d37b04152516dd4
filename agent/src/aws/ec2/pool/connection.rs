//! One HTTP/1.1 connection to the API. TCP settings end it soon after the other side's kernel falls silent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_smithy_types::body::SdkBody;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

/// The limit of a TCP handshake with the first address that answers. Kernels answer it, also those of a slow API, and
/// retransmit after 1 s.
const TCP_LIMIT: Duration = Duration::from_millis(1500);
/// After this long without an answer the next address is tried as well, as a lost zone's address drops all packets.
const NEXT_ADDRESS: Duration = Duration::from_millis(80);
/// The other side's kernel acknowledges data within a round trip, however slow its program. If it doesn't for this
/// long, the connection is dead (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED_MS: u32 = 300;
/// The kernel probes a connection that is silent for this long, so that no call waits for a lost peer. This is well
/// below the 350 s after which NAT gateways and interface endpoints forget a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// The endpoint of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub tls: bool,
    /// The host, by name or address.
    pub host: String,
    pub port: u16,
}

/// An open connection without a call under way.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<SdkBody>,
    pub target: Target,
    pub opened: Instant,
    /// Whether it has answered before.
    pub used: bool,
}

/// Opens a connection to the first of `addresses` that answers. `ended` is notified when the connection ends.
pub(super) async fn open(
    target: &Target,
    addresses: Vec<IpAddr>,
    tls: &TlsConnector,
    ended: Arc<Notify>,
) -> io::Result<Connection> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "TCP handshake timed out");
    let stream = tokio::time::timeout(TCP_LIMIT, first(addresses, target.port)).await.map_err(late)??;
    prepare(&stream)?;
    let sender = if target.tls {
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        speak(tls.connect(name, stream).await?, ended).await?
    } else {
        speak(stream, ended).await?
    };
    Ok(Connection { sender, target: target.clone(), opened: Instant::now(), used: false })
}

/// Connects to the addresses one after another, without waiting for earlier ones to fail.
async fn first(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut tries: FuturesUnordered<_> = (addresses.into_iter().zip(0..))
        .map(|(address, turn)| async move {
            tokio::time::sleep(NEXT_ADDRESS * turn).await;
            TcpStream::connect(SocketAddr::from((address, port))).await
        })
        .collect();
    let mut refusal = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(1))?;
    Ok(())
}

async fn speak<I>(stream: I, ended: Arc<Notify>) -> io::Result<SendRequest<SdkBody>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, conversation) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // A call that waits for an answer gets the error itself.
        let _ = conversation.await;
        ended.notify_one();
    });
    sender.ready().await.map_err(io::Error::other)?;
    Ok(sender)
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn ask(&mut self, request: Request<SdkBody>) -> hyper::Result<Response<Bytes>> {
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        // The connection's task may have work to finish before it takes the next request.
        self.sender.ready().await.ok();
        self.used = true;
        Ok(Response::from_parts(head, body))
    }
}
