//! `[haproxy]`: limits, and an operator's own sections of haproxy.cfg.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Settings of HAProxy itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HaproxySettings {
    /// The longest request line and headers together; by default [`REQUEST_HEADERS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_headers: Option<Bytes>,
    /// The most connections of all listeners; by default by the node's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// The operator's own sections.
    #[serde(skip_serializing_if = "Option::is_none")]
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

impl TryFrom<String> for Bytes {
    type Error = NotASize;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(size: Bytes) -> String {
        size.to_string()
    }
}
