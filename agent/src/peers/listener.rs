//! Accepts connections on the agent's port, and limits their number and duration. No client can use up the agent's
//! descriptors, or keep the requests of members and keepalived from being answered.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::Ipv4Net;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::connection_quota::{Guest, leaving};
use crate::node::state::Board;

/// The time limit for a request's header, also for the next request on a kept-alive connection.
const HEADER: Duration = Duration::from_secs(2);
const HEADER_BYTES: usize = 16 << 10;
/// The time limit of a non-member's connection, so that an unread answer doesn't use up the quota.
const VISIT: Duration = Duration::from_secs(10);
/// The pause before the next try while this node has no descriptor or no memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// How often such a failure is logged.
const SAY: Duration = Duration::from_secs(60);

/// Who may connect.
#[derive(Debug, Clone)]
pub(super) enum Visitors {
    /// Every address; `readers` may read the metrics.
    Any {
        readers: Vec<Ipv4Net>,
    },
    Members,
}

/// Serves `app` on `listener` forever, to `visitors`.
pub(super) async fn serve(listener: TcpListener, app: Router, board: Board, visitors: Visitors) -> Infallible {
    let (readers, members_only) = match visitors {
        Visitors::Any { readers } => (readers, false),
        Visitors::Members => (Vec::new(), true),
    };
    let state = board.subscribe();
    let mut connections = JoinSet::new();
    let mut held: Vec<(IpAddr, Guest, AbortHandle)> = Vec::new();
    let mut said: Option<Instant> = None;
    loop {
        let (stream, visitor) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_connections(&error) => continue,
            Err(error) => {
                if said.is_none_or(|said| said.elapsed() > SAY) {
                    tracing::error!(%error, "cannot accept connections on the health port");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        held.retain(|(.., connection)| !connection.is_finished());
        let guest = Guest::of(visitor.ip(), &state.borrow(), &readers);
        if members_only && guest != Guest::Member {
            continue;
        }
        let places: Vec<(IpAddr, Guest)> = held.iter().map(|(visitor, guest, _)| (*visitor, *guest)).collect();
        if let Some(index) = leaving(&places, visitor.ip(), guest) {
            held.remove(index).2.abort();
        }
        let limit = if guest == Guest::Member { Duration::MAX } else { VISIT };
        let visit = tokio::time::timeout(limit, answer(stream, visitor, app.clone()));
        held.push((visitor.ip(), guest, connections.spawn(async move { drop(visit.await) })));
        // A request that has arrived is answered before the next connection can replace it.
        tokio::task::yield_now().await;
    }
}

/// Whether the error is the connection's, not this node's (accept(2)).
fn is_the_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn answer(stream: TcpStream, visitor: SocketAddr, app: Router) -> hyper::Result<()> {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(visitor));
        app.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(HEADER_BYTES);
    http.serve_connection(TokioIo::new(stream), service).await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::node::state::tests::state;

    async fn open() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/health", get(async || "well"));
        tokio::spawn(serve(listener, app, Board::new(state()), Visitors::Any { readers: vec![] }));
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A reset after the answer doesn't matter.
        let _ = tokio::time::timeout(HEADER * 3, stream.read_to_string(&mut answer)).await.expect("it ends");
        answer
    }

    #[tokio::test]
    async fn a_question_is_answered_while_idle_connections_come_and_go() {
        let address = open().await;
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(ask(address, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.ends_with("well"));
        // The oldest are closed, the newest not yet.
        assert_eq!(idle[0].read(&mut [0]).await.unwrap_or(0), 0);
        let newest = tokio::time::timeout(Duration::from_millis(50), idle[199].read(&mut [0])).await;
        assert!(newest.is_err(), "{newest:?}");
    }

    #[tokio::test]
    async fn only_members_are_admitted_where_others_have_no_business() {
        let ask_as = async |peers| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let board = Board::new(state());
            board.change(|state| state.peers = peers);
            let app = Router::new().route("/health", get(async || "well"));
            tokio::spawn(serve(listener, app, board, Visitors::Members));
            ask(address, "GET /health HTTP/1.0\r\n\r\n").await
        };
        assert_eq!(ask_as(vec![]).await, "");
        assert!(ask_as(vec![std::net::Ipv4Addr::LOCALHOST]).await.ends_with("well"));
    }

    #[tokio::test]
    async fn requests_among_many_idle_connections_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut visitors = Vec::new();
        for number in 0..100 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number % 20 == 0 {
                stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
            }
            visitors.push(stream);
        }
        // All of them wait to be accepted.
        let app = Router::new().route("/health", get(async || "well"));
        tokio::spawn(serve(listener, app, Board::new(state()), Visitors::Any { readers: vec![] }));
        for mut stream in visitors.into_iter().step_by(20) {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert!(answer.ends_with("well"), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_visitor_that_says_nothing_or_too_much_is_not_waited_for() {
        let address = open().await;
        let began = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(began.elapsed() >= HEADER && began.elapsed() < HEADER * 3, "{:?}", began.elapsed());
        let long = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(HEADER_BYTES));
        assert!(!ask(address, &long).await.contains(" 200 "));
        assert!(!ask(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.contains(" 200 "));
    }

    #[test]
    fn only_a_broken_connection_is_skipped_without_a_pause() {
        let of = |code| is_the_connections(&io::Error::from_raw_os_error(code));
        // ECONNABORTED, and EMFILE, ENFILE, ENOMEM, ENOBUFS.
        assert!(of(103));
        assert_eq!([24, 23, 12, 105].map(of), [false; 4]);
    }
}
