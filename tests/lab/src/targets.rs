//! A backend target for the lab's balancers. It answers with its name, so that a client sees which target answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, SET_COOKIE, UPGRADE};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::serving::{Body, Door, text};

/// The time between two pieces of a download.
const BEAT: Duration = Duration::from_millis(100);

/// One piece of a download.
const PIECE: &[u8] = &[b'.'; 1024];

/// Serves until dropped: `/` answers the name, `/healthz` answers `ok`, `/slow?ms=N` answers after N milliseconds.
/// `/download?seconds=N` sends 10 KiB/s for N seconds, then `end` and a line break. `/upload` answers the number of
/// bytes received. `/echo` upgrades to a protocol (`Upgrade: echo`) that returns all bytes. `/login?session=N` answers
/// the name with the cookie `session=N`.
pub async fn serve(listener: std::net::TcpListener, name: &str) -> std::io::Result<Infallible> {
    let name: Arc<str> = name.into();
    Door::plain(listener)
        .serve(move |_, request| {
            let name = name.clone();
            async move { Ok(answer(&name, request).await) }
        })
        .await
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Body> {
    let uri = request.uri();
    match uri.path() {
        "/" => text(StatusCode::OK, format!("{name}\n")),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/slow" => match number(uri, "ms") {
            Some(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                text(StatusCode::OK, format!("{name}\n"))
            }
            None => text(StatusCode::BAD_REQUEST, "missing number: /slow?ms=500\n"),
        },
        "/download" => match number(uri, "seconds") {
            Some(seconds) => Response::new(download(Duration::from_secs(seconds))),
            None => text(StatusCode::BAD_REQUEST, "missing number: /download?seconds=10\n"),
        },
        "/upload" => match request.into_body().collect().await {
            Ok(body) => text(StatusCode::OK, format!("{}\n", body.to_bytes().len())),
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        },
        "/echo" => echo(request),
        "/login" => match number(uri, "session") {
            Some(session) => {
                let mut answer = text(StatusCode::OK, format!("{name}\n"));
                let cookie = HeaderValue::from_str(&format!("session={session}")).expect("digits are a header's value");
                answer.headers_mut().insert(SET_COOKIE, cookie);
                answer
            }
            None => text(StatusCode::BAD_REQUEST, "missing number: /login?session=7\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    tokio::spawn(async move {
        let Ok(stream) = hyper::upgrade::on(request).await else { return };
        let (mut from, mut to) = tokio::io::split(TokioIo::new(stream));
        // Ends when the client closes.
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    answer.headers_mut().clear();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    answer
}

fn number(uri: &Uri, name: &str) -> Option<u64> {
    let mut fields = form_urlencoded::parse(uri.query()?.as_bytes());
    fields.find(|(field, _)| field == name)?.1.parse().ok()
}

fn download(length: Duration) -> Body {
    let start = Instant::now();
    let beats = u32::try_from(length.as_millis() / BEAT.as_millis()).unwrap_or(u32::MAX);
    let frames = stream::unfold(0, move |beat| async move {
        if beat > beats {
            return None;
        }
        tokio::time::sleep_until(start + BEAT * beat).await;
        let piece = if beat == beats { Bytes::from_static(b"end\n") } else { Bytes::from_static(PIECE) };
        Some((Ok(Frame::data(piece)), beat + 1))
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::serving::testing::{Caller, loopback, text_of};

    #[tokio::test]
    async fn a_target_answers_its_name_its_health_and_slowly_on_request() {
        let (listener, address) = loopback();
        let served = tokio::spawn(async move { serve(listener, "target-a").await });
        let mut caller = Caller::from("127.0.0.1", address).await;
        assert_eq!(text_of(&caller.get("/").await), "target-a\n");
        assert_eq!(caller.get("/healthz").await.status(), 200);
        let start = Instant::now();
        assert_eq!(text_of(&caller.get("/slow?ms=120").await), "target-a\n");
        assert!(start.elapsed() >= Duration::from_millis(120));
        let login = caller.get("/login?session=7").await;
        assert_eq!((login.headers()["set-cookie"].to_str().unwrap(), text_of(&login)), ("session=7", "target-a\n"));
        for (path, status) in
            [("/login", 400), ("/slow", 400), ("/slow?ms=soon", 400), ("/download", 400), ("/nothing", 404)]
        {
            assert_eq!(caller.get(path).await.status(), status, "{path}");
        }
        served.abort();
    }

    #[tokio::test]
    async fn a_download_lasts_as_long_as_requested_and_marks_its_end() {
        let start = Instant::now();
        let body = download(BEAT * 3).collect().await.unwrap().to_bytes();
        assert!(start.elapsed() >= BEAT * 3);
        assert_eq!(body.len(), 3 * PIECE.len() + 4);
        assert!(body.ends_with(b"end\n"));
    }
}
