//! A target, written as text or as a table: `"10.0.1.40:80"`, `{ address = "10.0.2.40:80", weight = 50 }`.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::values::as_text;

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    /// Its part of the connections, by default [`WEIGHT`]; 0: only those that are bound to it.
    pub weight: Option<u16>,
    /// Whether it serves only while no other target is healthy.
    pub backup: bool,
}

/// Between HAProxy's 0 and 256.
pub const WEIGHT: u16 = 100;

/// An address with a port, or without one behind a range of ports: the target gets the client's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    pub ip: Ipv4Addr,
    pub port: Option<u16>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.ip),
            None => write!(f, "{}", self.ip),
        }
    }
}

/// Text that isn't a target's address.
#[derive(Debug, thiserror::Error)]
#[error("not address:port, such as \"10.0.1.20:8080\"")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, port) = match text.split_once(':') {
            Some((ip, port)) => (ip, Some(port.parse().map_err(|_| NotAnAddress)?)),
            None => (text, None),
        };
        Ok(Address { ip: ip.parse().map_err(|_| NotAnAddress)?, port })
    }
}

impl FromStr for Target {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Target { address: text.parse()?, weight: None, backup: false })
    }
}

as_text!(Address, r"^[0-9]+(\.[0-9]+){3}(:[0-9]+)?$", "An address with its port, such as \"10.0.1.20:8080\".");

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TargetTable")]
struct Table {
    /// The address with its port.
    address: Address,
    /// Its part of the connections, 0 to 256; by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    /// Whether it serves only while no other target is healthy.
    #[serde(default, skip_serializing_if = "is_false")]
    backup: bool,
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Target { address, weight, backup } = *self;
        match (weight, backup) {
            (None, false) => address.serialize(serializer),
            _ => Table { address, weight, backup }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enum: its errors name neither the key nor the value.
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Address>(), generator.subschema_for::<Table>()];
        json_schema!({ "anyOf": forms })
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
        let Table { address, weight, backup } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Target { address, weight, backup })
    }
}
