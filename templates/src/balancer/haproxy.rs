//! `[haproxy]`: limits, and an operator's own sections of haproxy.cfg.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PortRange, Protocol};
use crate::values::as_text;

/// Settings of HAProxy itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HaproxySettings {
    /// The longest request line and headers together, "15KB" to "64KB"; by default "15KB".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_headers: Option<Bytes>,
    /// The most connections of all listeners; by default by the node's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// A file with sections of your own for haproxy.cfg, beside the balancer's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub extra: Option<Extra>,
}

/// Of HAProxy's default buffer, less the room that it keeps for changes.
pub const REQUEST_HEADERS: Bytes = Bytes(15 * 1024);

impl HaproxySettings {
    pub(super) fn is_default(&self) -> bool {
        *self == HaproxySettings::default()
    }

    /// The longest request line and headers together.
    pub fn max_request_headers(&self) -> Bytes {
        self.max_request_headers.unwrap_or(REQUEST_HEADERS)
    }
}

/// An operator's sections of haproxy.cfg. A balancer's file names a file beside it; the node's configuration has its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ExtraForm")]
pub struct Extra {
    /// The file's path, as the balancer's file has it.
    pub file: String,
    pub text: String,
}

/// What an operator's file may add. `global` and `defaults` are Elbow's, `program` and Lua run programs.
pub const SECTIONS: [&str; 7] = ["frontend", "backend", "listen", "resolvers", "userlist", "cache", "mailers"];

impl Extra {
    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.text.lines().map(|line| line.split_whitespace().collect())
    }

    /// The sections that a listener can forward to, with their modes: the last that they set, or `http`, which
    /// Elbow's `defaults` set. None: another mode.
    pub fn backends(&self) -> Vec<(&str, Option<Protocol>)> {
        let mut backends = Vec::new();
        let mut is_inside = false;
        for words in self.lines() {
            match &words[..] {
                ["backend", name, ..] => {
                    backends.push((*name, Some(Protocol::Http)));
                    is_inside = true;
                }
                [keyword, ..] if SECTIONS.contains(keyword) => is_inside = false,
                ["mode", mode, ..] if is_inside => {
                    let of =
                        [("http", Protocol::Http), ("tcp", Protocol::Tcp)].into_iter().find(|(name, _)| name == mode);
                    backends.last_mut().expect("inside of one").1 = of.map(|(_, protocol)| protocol);
                }
                _ => {}
            }
        }
        backends
    }

    /// The ports that it binds.
    pub fn ports(&self) -> Vec<PortRange> {
        let binds = self.lines().filter(|words| words.first() == Some(&"bind"));
        let addresses = binds.filter_map(|words| words.get(1).copied()).flat_map(|addresses| addresses.split(','));
        addresses.filter_map(|address| bind_port(address.rsplit_once(':')?.1)).collect()
    }
}

/// One port or a range, as in a `bind` line.
pub fn bind_port(text: &str) -> Option<PortRange> {
    text.parse::<u16>().ok().map(PortRange::from).or_else(|| text.parse().ok())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ExtraForm {
    File(String),
    Read { file: String, text: String },
}

impl From<ExtraForm> for Extra {
    fn from(form: ExtraForm) -> Extra {
        match form {
            ExtraForm::File(file) => Extra { file, text: String::new() },
            ExtraForm::Read { file, text } => Extra { file, text },
        }
    }
}

/// A size: `"64KB"` are 65,536 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u32);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}KB", self.0 / 1024)
    }
}

/// Text that isn't a size.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a size; write a number and KB, such as \"64KB\"")]
pub struct NotASize(String);

impl FromStr for Bytes {
    type Err = NotASize;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix("KB").and_then(|number| number.parse::<u32>().ok());
        number.and_then(|number| number.checked_mul(1024)).map(Bytes).ok_or_else(|| NotASize(text.to_owned()))
    }
}

as_text!(Bytes, "^[0-9]+KB$", "A size, such as \"64KB\".");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_and_ports_of_an_operators_file_are_found() {
        let text = "backend a\n  server bind 10.0.1.1:1\nbackend b\nmode http\n mode tcp # x\nfrontend f\nmode http\n\tbind 127.0.0.1:81,*:90-95 ssl\n bind :7000\n# bind *:1\n";
        let extra = Extra { file: "extra.cfg".to_owned(), text: text.to_owned() };
        assert_eq!(extra.backends(), [("a", Some(Protocol::Http)), ("b", Some(Protocol::Tcp))]);
        assert_eq!(extra.ports().iter().map(ToString::to_string).collect::<Vec<_>>(), ["81", "90-95", "7000"]);
    }
}
