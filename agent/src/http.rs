//! The one HTTP client for plain requests nearby: IMDS and the peers. Neither speaks TLS, neither sits behind a proxy.

use std::sync::Once;
use std::time::Duration;

use anyhow::Context;

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

/// Settles on a crypto provider: reqwest is built without one of its own and wants one even where it is never used.
pub fn use_ring() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
