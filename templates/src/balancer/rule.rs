//! Rules of an HTTP listener: conditions, what is rewritten, and one action. As ALB's listener rules.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Millis;
use super::schema::Cidr;

/// Decides for the requests that match. Exactly one of `forward`, `redirect` and `respond` is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// If absent, every request matches.
    #[serde(default, rename = "if", skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// What a forwarded request is changed to, after the rules are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// A target group, or several with weights: `{ blue = 90, green = 10 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// How long a client stays with the group that was chosen by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_sticky: Option<Millis>,
    /// Sends the client to another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// HAProxy's own answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
}

/// A request matches if each key that is present has a value that matches. Values of `host` and `path` are text with
/// ALB's `*` and `?`, or a regular expression after `~`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Values of the header `Host`, without its port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host: Vec<String>,
    /// Paths, without the query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// By a header's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    /// Methods, such as `GET`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// By a parameter's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Vec<String>>,
    /// Networks of clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Cidr>")]
    pub source: Vec<Ipv4Net>,
}

impl Conditions {
    /// Whether every request matches.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }
}

/// What a forwarded request is changed to, after the rules are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// The header `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A regular expression, and what replaces its match; `\\1` is its first group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<(String, String)>,
    /// Without the `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// A target group, or several with their weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Forward {
    One(String),
    /// A group gets its weight's part of the sum.
    Weighted(BTreeMap<String, u16>),
}

impl Forward {
    /// The groups with their weights.
    pub fn groups(&self) -> Vec<(&str, u16)> {
        match self {
            Forward::One(name) => vec![(name, 1)],
            Forward::Weighted(groups) => groups.iter().map(|(name, weight)| (name.as_str(), *weight)).collect(),
        }
    }
}

/// Sends the client elsewhere. What isn't named stays. Text may contain `#{protocol}`, `#{host}`, `#{port}`, `#{path}`
/// (without its first `/`) and `#{query}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The new host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The new port; by default the scheme's, if there is a `scheme`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The new path, from its first `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Without the `?`; empty text removes the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// HAProxy's own answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// From 200 to 599.
    pub status: u16,
    /// By default `text/plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Up to 1024 bytes in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
