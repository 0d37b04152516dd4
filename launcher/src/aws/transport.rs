//! The transport of every AWS request. It chooses the proxy, retries throttled calls, reports long waits, and adds
//! address and Region to errors.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::time::{Instant, timeout_at};

use super::throttling::Throttled;
use super::{error, http};
use crate::output;

/// A longer wait is reported.
const SILENCE: Duration = Duration::from_secs(3);
/// Interval between reports.
const AGAIN: Duration = Duration::from_secs(60);

/// A client for AWS's API in this Region.
pub(super) fn client(tls: &TlsContext, region: &str) -> SharedHttpClient {
    SharedHttpClient::new(Reach {
        proxied: http::proxied(tls),
        direct: http::direct(tls),
        wait: Arc::new(Wait { region: region.to_owned(), throttled: Throttled::default(), state: Mutex::default() }),
    })
}

#[derive(Debug)]
struct Reach {
    proxied: SharedHttpClient,
    direct: SharedHttpClient,
    wait: Arc<Wait>,
}

impl HttpClient for Reach {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Way {
            proxied: self.proxied.http_connector(settings, components),
            direct: self.direct.http_connector(settings, components),
            proxies: Matcher::from_env(),
            wait: self.wait.clone(),
        })
    }

    fn validate_base_client_config(&self, base: &RuntimeComponentsBuilder, bag: &ConfigBag) -> Result<(), BoxError> {
        self.proxied.validate_base_client_config(base, bag)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.proxied.connector_metadata()
    }
}

#[derive(Debug)]
struct Way {
    proxied: SharedHttpConnector,
    direct: SharedHttpConnector,
    proxies: Matcher,
    wait: Arc<Wait>,
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Ok(uri) = request.uri().parse() else { return self.direct.call(request) };
        let proxy = self.proxies.intercept(&uri).filter(|_| !is_near(uri.host().unwrap_or_default()));
        let at = uri.authority().map(|host| host.as_str()).unwrap_or_default();
        let at = format!("{}://{at}", uri.scheme_str().unwrap_or_default());
        let (way, at) = match proxy.as_ref().and_then(|proxy| proxy.uri().authority()) {
            // The proxy's user info is secret.
            Some(proxy) => {
                let place = proxy.as_str().rsplit('@').next().unwrap_or_default();
                (self.proxied.clone(), format!("{at} via the proxy {place}"))
            }
            None => (self.direct.clone(), at),
        };
        let wait = self.wait.clone();
        HttpConnectorFuture::new(async move {
            wait.throttled.outlast(request, |request| wait.during(&at, way.call(request))).await
        })
    }
}

/// Whether the host is link-local: IMDS or a container's credentials endpoint. These bypass the proxy.
fn is_near(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        // EC2's own, fd00:ec2::/32.
        Ok(IpAddr::V6(address)) => address.segments()[..2] == [0xfd00, 0x0ec2],
        Err(_) => false,
    }
}

/// How long AWS hasn't answered.
#[derive(Debug)]
struct Wait {
    region: String,
    throttled: Throttled,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first request since the last answer.
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Wait {
    async fn during(&self, at: &str, answer: HttpConnectorFuture) -> Result<HttpResponse, ConnectorError> {
        let since = *self.state().since.get_or_insert_with(Instant::now);
        let mut answer = std::pin::pin!(answer);
        let outcome = match timeout_at(since + SILENCE, &mut answer).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.say(at);
                answer.await
            }
        };
        if outcome.is_ok() {
            self.state().since = None;
        }
        outcome.map_err(|error| named(error, &format!("{at} ({})", self.region)))
    }

    fn say(&self, at: &str) {
        let mut state = self.state();
        if state.said.is_none_or(|said| said.elapsed() >= AGAIN) {
            state.said = Some(Instant::now());
            output::say(&format!("  … waiting for AWS in {}, at {at}", self.region));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An address that didn't answer.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {why}")]
struct Unreached {
    at: String,
    why: String,
}

/// Adds the address to an error. The error's kind stays: it decides whether the SDK retries.
fn named(error: ConnectorError, at: &str) -> ConnectorError {
    let unreached = Box::new(Unreached { at: at.to_owned(), why: error::innermost(&error) });
    let named = match &error {
        error if error.is_timeout() => ConnectorError::timeout(unreached),
        error if error.is_io() => ConnectorError::io(unreached),
        error if error.is_user() => ConnectorError::user(unreached),
        error => ConnectorError::other(unreached, error.as_other()),
    };
    match error.connection_metadata() {
        Some(connection) => named.with_connection(connection.clone()),
        None => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_address_and_keeps_its_kind() {
        let refused = || Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let io = named(ConnectorError::io(refused()), "https://ec2.example.com (eu-west-1)");
        assert!(io.is_io());
        assert_eq!(error::innermost(&io), "https://ec2.example.com (eu-west-1): connection refused");
        assert!(named(ConnectorError::timeout(refused()), "x").is_timeout());
        assert!(named(ConnectorError::user(refused()), "x").is_user());
        let transient = aws_smithy_types::retry::ErrorKind::TransientError;
        assert_eq!(named(ConnectorError::other(refused(), Some(transient)), "x").as_other(), Some(transient));
    }

    #[test]
    fn link_local_hosts_bypass_the_proxy() {
        for near in ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[fd00:ec2::23]"] {
            assert!(is_near(near), "{near}");
        }
        for far in ["ec2.eu-west-1.amazonaws.com", "10.0.0.1", "[2600:1f18::1]", ""] {
            assert!(!is_near(far), "{far}");
        }
    }
}
