//! Durations and image references, as an operator writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Serde reads and writes the type as text, by its `FromStr` and `Display`. Its schema is text of this pattern.
macro_rules! as_text {
    ($type:ident, $pattern:expr, $description:expr) => {
        impl TryFrom<String> for $type {
            type Error = <$type as std::str::FromStr>::Err;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}
pub(crate) use as_text;

/// A duration as HAProxy writes it: `200ms`, `2s`, `1m`, `1h`. Resolution: a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Millis(pub u32);

impl Millis {
    /// The same time as the standard library's type.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0.into())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

/// Text that isn't a duration.
#[derive(Debug, thiserror::Error)]
pub enum NotADuration {
    /// Not a number and a unit.
    #[error(
        "{0:?} is not a duration; write one whole number and one unit (ms, s, m, h) without a space, such as \"90m\""
    )]
    Form(String),
    /// More milliseconds than 32 bits hold.
    #[error("{0:?} is too long; write at most \"1193h\"")]
    TooLong(String),
}

impl FromStr for Millis {
    type Err = NotADuration;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotADuration::Form(text.to_owned());
        let too_long = || NotADuration::TooLong(text.to_owned());
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        if number.is_empty() {
            return Err(wrong());
        }
        let number: u32 = number.parse().map_err(|_| too_long())?;
        number.checked_mul(scale).map(Millis).ok_or_else(too_long)
    }
}

as_text!(Millis, "^[0-9]+(ms|s|m|h)$", "A duration, such as \"200ms\", \"60s\", \"5m\" or \"1h\".");

/// A machine image as RunInstances takes it: an id, or the name of a public or private SSM parameter that holds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Image {
    /// `ami-…`
    Id(String),
    /// The path behind `resolve:ssm:`.
    Parameter(String),
}

/// Text that isn't an image.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an image; write ami-… or resolve:ssm:/path")]
pub struct NotAnImage(String);

impl FromStr for Image {
    type Err = NotAnImage;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("resolve:ssm:").filter(|path| !path.is_empty()) {
            return Ok(Image::Parameter(path.to_owned()));
        }
        match text.strip_prefix("ami-") {
            Some(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(Image::Id(text.to_owned())),
            _ => Err(NotAnImage(text.to_owned())),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Image::Id(id) => f.pad(id),
            Image::Parameter(path) => write!(f, "resolve:ssm:{path}"),
        }
    }
}

as_text!(
    Image,
    "^(ami-[0-9a-fA-F]+|resolve:ssm:.+)$",
    "An image: \"ami-…\", or \"resolve:ssm:/path\" for an SSM parameter that holds its id."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_written() {
        for (text, ms) in [("200ms", 200), ("2s", 2000), ("1m", 60_000), ("3h", 10_800_000)] {
            assert_eq!(text.parse::<Millis>().unwrap(), Millis(ms));
        }
        assert_eq!(Millis(60_000).to_string(), "60s");
        assert_eq!(Millis(1500).to_string(), "1500ms");
        for text in ["", "5", "ms", "2 s", "-1s", "2d", "1h30m", "1.5h"] {
            let said = text.parse::<Millis>().unwrap_err().to_string();
            assert!(said.contains("one whole number and one unit"), "{said}");
        }
        assert!("1193h".parse::<Millis>().is_ok());
        for text in ["1194h", "99999999m", "99999999999ms"] {
            let said = text.parse::<Millis>().unwrap_err().to_string();
            assert!(said.contains("is too long; write at most \"1193h\""), "{said}");
        }
    }

    #[test]
    fn an_image_is_an_id_or_a_parameter() {
        assert_eq!("ami-0a1b".parse::<Image>().unwrap(), Image::Id("ami-0a1b".into()));
        assert_eq!("resolve:ssm:/a/b".parse::<Image>().unwrap(), Image::Parameter("/a/b".into()));
        for text in ["", "ami-", "ami-xyz", "resolve:ssm:", "debian"] {
            assert!(text.parse::<Image>().is_err(), "{text}");
        }
    }
}
