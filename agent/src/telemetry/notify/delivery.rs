//! The courier delivers events to the webhook: one at a time, in order. It retries until the webhook accepts or refuses
//! the event, or the event is too old. It has a thread of its own, so that a slow handshake or a silent resolver delays
//! nothing else. The webhook's address is a secret: no message shows any of it.

use std::time::Duration;

use anyhow::Context;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use templates::balancer::Webhook;

use super::event::Sender;
use super::outbox::{Letter, Outbox};
use crate::host::backoff::Backoff;
use crate::host::http;
use crate::node::state::Board;
use crate::telemetry::metrics::Told;

/// The limit of a connection. It is generous, as the receiver may be far away.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The limit of an answer. After it the event is sent again.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The outcome of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// A permanent failure.
    Refused(String),
    /// A transient failure.
    Later(String),
}

/// Starts the thread that delivers the events of `outbox` to `webhook`.
pub fn start(webhook: Webhook, outbox: Outbox, told: Told, board: Board, sender: Sender) -> anyhow::Result<()> {
    outbox.open(told);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let carry = move || runtime.block_on(carry(Courier { webhook, outbox, board, sender }));
    std::thread::Builder::new().name("courier".to_owned()).spawn(carry).context("starting the webhook's thread")?;
    Ok(())
}

struct Courier {
    webhook: Webhook,
    outbox: Outbox,
    board: Board,
    sender: Sender,
}

async fn carry(courier: Courier) {
    let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
    let http = loop {
        match client() {
            Ok(http) => break http,
            Err(error) => tracing::warn!("cannot send webhook events; retrying: {error:#}"),
        }
        backoff.wait().await;
    };
    loop {
        let letter = courier.outbox.next().await;
        let delivered = courier.deliver(&http, &letter).await;
        courier.outbox.done(&letter, delivered);
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    http::use_ring();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(ANSWER_LIMIT)
        .pool_idle_timeout(Duration::from_secs(20))
        .user_agent(concat!("elbow-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("building the HTTP client for the webhook")
}

impl Courier {
    /// Sends an event until it is delivered or dropped. Returns whether it was delivered.
    async fn deliver(&self, http: &reqwest::Client, letter: &Letter) -> bool {
        let payload = letter.event.payload(&self.sender, &self.board.read(), letter.sequence, letter.dropped);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut said = None;
        loop {
            let why = match send(http, &self.webhook, &payload).await {
                Fate::Delivered => return true,
                Fate::Refused(why) => {
                    tracing::warn!(event = letter.event.what.name(), %why, "webhook refused an event");
                    return false;
                }
                Fate::Later(why) => why,
            };
            if said.as_ref() != Some(&why) {
                tracing::warn!(event = letter.event.what.name(), %why, "webhook didn't accept an event; retrying");
                said = Some(why);
            }
            backoff.wait().await;
            if !self.outbox.waits(letter) {
                return false;
            }
        }
    }
}

async fn send(http: &reqwest::Client, webhook: &Webhook, payload: &Value) -> Fate {
    let body = payload.to_string();
    let post = http.post(webhook.reveal()).header(CONTENT_TYPE, "application/json").body(body);
    match post.send().await {
        Ok(answer) => judge(answer.status()),
        Err(error) => Fate::Later(reason(error, webhook)),
    }
}

/// RFC 9110 section 15, and RFC 6585 for 429.
fn judge(status: StatusCode) -> Fate {
    match status {
        _ if status.is_success() => Fate::Delivered,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Fate::Later(format!("status {status}"))
        }
        _ if status.is_server_error() => Fate::Later(format!("status {status}")),
        _ if status.is_redirection() => {
            Fate::Refused(format!("status {status}; set notify.webhook to the new address"))
        }
        _ => Fate::Refused(format!("status {status}")),
    }
}

/// Why there was no answer, without any part of the webhook's address.
fn reason(error: reqwest::Error, webhook: &Webhook) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let host = reqwest::Url::parse(webhook.reveal()).ok().and_then(|url| Some(url.host_str()?.to_owned()));
    let text = text.replace(webhook.reveal(), "…");
    host.map_or(text.clone(), |host| text.replace(&host, "…"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State as Shared;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::super::event::{Event, What};
    use super::*;
    use crate::node::state::tests::state;

    fn webhook(address: &str) -> Webhook {
        serde_json::from_value(Value::String(address.to_owned())).unwrap()
    }

    /// The payloads that a receiver got, and the statuses that it will answer with.
    type Received = (Arc<Mutex<Vec<Value>>>, Arc<Mutex<Vec<u16>>>);

    /// Starts a receiver that answers with `statuses` in turn, then with 204, and keeps the payloads.
    async fn receiver(statuses: &[u16]) -> (Webhook, Arc<Mutex<Vec<Value>>>) {
        let got: Arc<Mutex<Vec<Value>>> = Arc::default();
        let left = Mutex::new(statuses.iter().rev().copied().collect::<Vec<u16>>());
        let take = |Shared((got, left)): Shared<Received>, body: String| async move {
            got.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            StatusCode::from_u16(left.lock().unwrap().pop().unwrap_or(204)).unwrap()
        };
        let app = Router::new().route("/s3cret", post(take)).with_state((got.clone(), Arc::new(left)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/s3cret", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (webhook(&address), got)
    }

    #[tokio::test]
    async fn an_event_is_sent_unchanged_until_it_is_delivered() {
        let (webhook, got) = receiver(&[500, 429]).await;
        let outbox = Outbox::default();
        let sender = Sender { region: "eu-west-1".into(), vpc: "vpc-1".into() };
        start(webhook, outbox.clone(), Told::default(), Board::new(state()), sender).unwrap();
        outbox.put(Event::now([10, 255, 0, 10].into(), What::TakeoverComplete { ms: 5 }, vec![]));
        outbox.flush(Duration::from_secs(30)).await;
        let got = got.lock().unwrap();
        assert_eq!(got.len(), 3);
        assert!(got[0]["event"] == "takeover_complete" && got.iter().all(|one| *one == got[0]), "{got:?}");
    }

    #[tokio::test]
    async fn a_refused_event_is_not_retried_and_is_counted_in_the_next_one() {
        let (webhook, got) = receiver(&[404]).await;
        let (outbox, told) = (Outbox::default(), Told::default());
        let sender = Sender { region: "eu-west-1".into(), vpc: "vpc-1".into() };
        start(webhook, outbox.clone(), told.clone(), Board::new(state()), sender).unwrap();
        for _ in 0..2 {
            outbox.put(Event::now([10, 255, 0, 10].into(), What::TakeoverComplete { ms: 5 }, vec![]));
        }
        outbox.flush(Duration::from_secs(30)).await;
        let dropped: Vec<Value> = got.lock().unwrap().iter().map(|one| one["dropped"].clone()).collect();
        assert_eq!(dropped, [0, 1]);
        assert_eq!((told.delivered.get(), told.dropped.get(), told.waiting.get()), (1, 1, 0));
    }

    #[tokio::test]
    async fn no_reason_shows_any_of_the_address() {
        for address in
            ["https://no-such-host.invalid/s3cret", "http://127.0.0.1:1/s3cret", "https://127.0.0.1:1/s3cret"]
        {
            let Fate::Later(why) = send(&client().unwrap(), &webhook(address), &Value::Null).await else {
                panic!("{address} answered");
            };
            assert!(!why.contains("s3cret") && !why.contains("no-such-host") && !why.contains("127.0.0.1"), "{why}");
            assert!(!why.is_empty() && !why.contains('\n'));
        }
    }

    #[test]
    fn only_transient_failures_are_retried() {
        let fate = |status: u16| judge(StatusCode::from_u16(status).unwrap());
        assert!([200, 202, 204].iter().all(|status| fate(*status) == Fate::Delivered));
        assert!([408, 425, 429, 500, 503].iter().all(|status| matches!(fate(*status), Fate::Later(_))));
        assert!([301, 400, 403, 404, 410].iter().all(|status| matches!(fate(*status), Fate::Refused(_))));
    }
}
