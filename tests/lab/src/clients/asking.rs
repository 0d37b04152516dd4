//! Clients that send requests repeatedly, on new connections or on a kept connection.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{LIMIT, Place};
use crate::prober;

/// Sends each request on a new connection, at a fixed rate.
pub(super) async fn anew(mut place: Place, every: Duration, path: &'static str) {
    let mut ticks = tokio::time::interval(every);
    let mut requests = JoinSet::new();
    let mut ending = place.clone();
    loop {
        tokio::select! {
            () = ending.over() => break,
            _ = ticks.tick() => drop(requests.spawn(once(place.clone(), path))),
            Some(_) = requests.join_next() => {}
        }
    }
    place.over().await;
    while requests.join_next().await.is_some() {}
}

async fn once(place: Place, path: &'static str) {
    let asked = tokio::time::timeout(LIMIT, prober::ask(place.to, path)).await;
    let outcome = asked.context("no answer in time").and_then(|answer| answer.map(drop)).context(path);
    place.note(|report| report.answered(outcome));
}

/// Sends requests one after another on one connection, and reconnects when it ends.
pub(super) async fn kept(place: Place, pause: Duration, path: &'static str) {
    let mut first = true;
    while !place.is_over() {
        let mut connection = match tokio::time::timeout(LIMIT, connect(&place)).await.context("no connection in time") {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) | Err(error) => {
                place.note(|report| report.answered(Err(error.context("connecting"))));
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        loop {
            let asked = tokio::time::timeout(LIMIT, ask(&mut connection, path)).await.context("no answer in time");
            let outcome = asked.and_then(|answer| answer);
            let lost = outcome.as_ref().err().map(|error| format!("{error:#}"));
            let closing = *outcome.as_ref().unwrap_or(&false);
            place.note(|report| report.answered(outcome.map(drop).context(path)));
            if let Some(why) = lost {
                place.note(|report| report.lost("keep-alive", &anyhow::Error::msg(why)));
                break;
            }
            if std::mem::take(&mut first) {
                place.opened();
            }
            tokio::time::sleep(pause).await;
            // A close that the server announced isn't a loss.
            if closing || place.is_over() {
                break;
            }
        }
    }
}

async fn connect(place: &Place) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(place.to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends a request. Returns whether the server announces that it closes the connection.
async fn ask(connection: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<bool> {
    connection.ready().await?;
    let request = Request::get(path).header("host", "lab").body(Empty::new())?;
    let answer = connection.send_request(request).await?;
    let (status, close) = (answer.status(), answer.headers().get("connection").is_some_and(|value| value == "close"));
    answer.into_body().collect().await?;
    ensure!(status == 200, "status {status}");
    Ok(close)
}
