//! The HTTP client for IMDS and the peers, without TLS and proxies.

use std::error::Error;
use std::io;
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::host::probe;

/// The longest answer of a peer, in bytes. A health page of many virtual IPs is a hundredth of that.
const LONGEST: usize = 64 << 10;
/// The pause between attempts of [`asked`].
const AGAIN: Duration = Duration::from_millis(50);
/// The most characters shown of a text from another node.
const SHOWN: usize = 200;

/// A client that gives up on a connection after a second and on an answer after three.
pub fn client() -> anyhow::Result<reqwest::Client> {
    use_ring();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(1))
        .timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(20))
        .build()
        .context("building the HTTP client for IMDS and peers")
}

/// Sends a request to a peer. While this node lacks a descriptor, memory or port for it, the request waits: an unsent
/// request is no evidence against the peer.
pub async fn asked(request: impl Fn() -> reqwest::RequestBuilder) -> reqwest::Result<reqwest::Response> {
    loop {
        match request().send().await {
            Err(error) if is_unasked(&error) => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

fn is_unasked(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(probe::unasked) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The body of a peer's answer, at most 64 KiB.
pub async fn body(mut answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.context("reading a peer's answer")? {
        ensure!(body.len() + piece.len() <= LONGEST, "a peer's answer is longer than {} KiB", LONGEST >> 10);
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The printable form of a text from another node: 200 characters, without control and text-direction characters.
pub fn shown(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown: String = text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).take(SHOWN).collect();
    shown.trim().to_owned()
}

/// Installs the crypto provider. reqwest is built without one, and needs one even for plain HTTP.
pub fn use_ring() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer_of(length: usize) -> anyhow::Result<Vec<u8>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let page = axum::Router::new().route("/", axum::routing::get(move || async move { "x".repeat(length) }));
        tokio::spawn(async move { axum::serve(listener, page).await });
        body(asked(|| client().unwrap().get(&url)).await.unwrap()).await
    }

    #[tokio::test]
    async fn an_answer_of_more_than_64_kib_is_refused() {
        assert_eq!(answer_of(LONGEST).await.unwrap().len(), LONGEST);
        assert_eq!(answer_of(LONGEST + 1).await.unwrap_err().to_string(), "a peer's answer is longer than 64 KiB");
    }

    #[tokio::test]
    async fn a_refused_connection_is_not_unasked() {
        let error = asked(|| client().unwrap().get("http://127.0.0.1:9/")).await.unwrap_err();
        assert!(error.is_connect() && !is_unasked(&error));
    }

    #[test]
    fn another_nodes_text_is_cut_and_has_no_control_characters() {
        assert_eq!(shown("it can't serve\u{1b}[2J\u{202e}\n"), "it can't serve [2J");
        assert_eq!(shown(&"ä".repeat(300)).chars().count(), SHOWN);
    }
}
