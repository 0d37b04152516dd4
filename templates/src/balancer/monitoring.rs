//! The observers of a balancer: a webhook that gets its events, readers of its metrics, and a receiver of its log.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::Cidr;
use crate::values::as_text;

/// The receiver of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Gets a POST for each event.
    pub webhook: Webhook,
}

/// A webhook's address. It is a secret, as it lets anyone post to the webhook: it has no `Display`, and its `Debug`
/// hides it. Only a node's user-data contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Webhook(String);

impl Webhook {
    /// The address itself, to write it to a node or connect to it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(secret)")
    }
}

/// Readers of the nodes' metrics, beside the nodes themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Prometheus servers and the like.
    #[schemars(with = "Vec<Cidr>")]
    pub clients: Vec<Ipv4Net>,
}

/// Where HAProxy's log goes, beside each node's own file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Gets each line, by syslog over TCP.
    pub syslog: Receiver,
}

/// A syslog server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Receiver {
    /// An IPv4 address or a name.
    pub host: String,
    pub port: u16,
}

/// Text that isn't a receiver.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a host and a port; write an IPv4 address or a name, and 1 to 65535, such as \"logs.example.com:514\""
)]
pub struct NotAReceiver(String);

impl FromStr for Receiver {
    type Err = NotAReceiver;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = text.split_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
            is_host(host).then(|| Receiver { host: host.to_owned(), port })
        });
        read.ok_or_else(|| NotAReceiver(text.to_owned()))
    }
}

/// An IPv4 address or a host name (RFC 1123, section 2.1). The last label of a name isn't a number.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    match text.rsplit('.').next().is_some_and(is_number) {
        true => text.parse::<Ipv4Addr>().is_ok(),
        false => text.len() <= 253 && text.split('.').all(is_label),
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

as_text!(Receiver, "^[0-9A-Za-z.-]+:[0-9]+$", "A host and a port, such as \"logs.example.com:514\".");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_host_and_a_port() {
        for text in ["10.0.9.9:514", "logs:1", "logs.example.com:65535", "1and1.com:6514", "xn--bcher-kva.de:514"] {
            assert_eq!(text.parse::<Receiver>().unwrap().to_string(), text);
        }
        let long = format!("{}:514", ["a".repeat(63).as_str(); 4].join("."));
        for text in [
            "",
            "logs",
            "logs:",
            ":514",
            "logs:0",
            "logs:65536",
            "logs:syslog",
            "10.0.0.256:514",
            "10.0.9:514",
            "logs.1:514",
            "-logs:514",
            "logs-.example.com:514",
            "logs..com:514",
            "logs.:514",
            "tcp://logs:514",
            "[fd00::1]:514",
            "fd00::1:514",
            "a\" port=\"1:514",
            "lögs:514",
            "a b:514",
            long.as_str(),
        ] {
            assert!(text.parse::<Receiver>().is_err(), "{text}");
        }
    }
}
