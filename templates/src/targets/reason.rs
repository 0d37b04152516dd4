//! Why a target is down, as a word for programs and in words for people.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// HAProxy's status of a check (management guide, 9.1, `check_status`) and a detail: `L4CON`, `L4CON:unreachable`,
/// `L7STS:503`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    status: String,
    detail: Option<String>,
}

/// Text that isn't a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the status of a check, such as \"L4CON\" or \"L7STS:503\"")]
pub struct NotAReason;

impl Reason {
    /// The reason by HAProxy's fields `check_status`, `check_code` and `last_chk`.
    pub fn of(check_status: &str, check_code: &str, last_check: &str) -> Reason {
        let status: String = check_status.chars().filter(is_status).take(LONGEST).collect();
        let status = if status.is_empty() { "UNK".to_owned() } else { status };
        let last = last_check.to_ascii_lowercase();
        let detail = match status.as_str() {
            "L4CON" if last.is_empty() || last.contains("refused") => None,
            "L4CON" if last.contains("unreachable") || last.contains("no route") => Some("unreachable".to_owned()),
            "L4CON" => Some("failed".to_owned()),
            "L7STS" => Some(check_code.chars().filter(char::is_ascii_digit).take(3).collect()),
            _ => None,
        };
        Reason { status, detail: detail.filter(|detail| !detail.is_empty()) }
    }

    /// Whether a check failed. A target that is down may pass its last check and need another one to be up.
    pub fn is_failure(&self) -> bool {
        !matches!(self.status.as_str(), "UNK" | "INI" | "L4OK" | "L6OK" | "L7OK" | "L7OKC" | "PROCOK")
    }

    /// Whether no packet of the target answered the check: a security group or a network ACL may drop it.
    pub fn is_silence(&self) -> bool {
        self.status == "L4TOUT"
    }

    /// The reason for people. `nodes` is the id of the nodes' security group, if known.
    pub fn words(&self, nodes: Option<&str>) -> String {
        let detail = self.detail.as_deref();
        match (self.status.as_str(), detail) {
            ("L4TOUT", _) => {
                format!("timeout at layer 4: does its security group admit {}?", nodes.unwrap_or("the nodes'"))
            }
            ("L4CON", None) => "connection refused".to_owned(),
            ("L4CON", Some("unreachable")) => "its address is unreachable".to_owned(),
            ("L4CON", Some(_)) => "the connection failed".to_owned(),
            ("L6TOUT", _) => "timeout of the TLS handshake".to_owned(),
            ("L6RSP", _) => "the TLS handshake failed".to_owned(),
            ("L7TOUT", _) => "timeout at layer 7: it accepts connections but doesn't answer the check".to_owned(),
            ("L7RSP", _) => "its answer to the check is invalid".to_owned(),
            ("L7STS", Some(code)) => format!("HTTP status {code}"),
            ("L7STS", None) => "its answer to the check isn't the expected one".to_owned(),
            ("SOCKERR", _) => "the node can't open a connection to it".to_owned(),
            ("UNK" | "INI", _) => "not checked yet".to_owned(),
            _ if !self.is_failure() => "the last check passed; it is up after the next ones".to_owned(),
            (status, _) => format!("the check failed: {status}"),
        }
    }
}

/// The longest status and the longest detail. HAProxy's and Elbow's are shorter.
const LONGEST: usize = 16;

fn is_status(c: &char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

fn is_detail(c: &char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ":{detail}"))
    }
}

impl FromStr for Reason {
    type Err = NotAReason;
    fn from_str(text: &str) -> Result<Self, NotAReason> {
        let (status, detail) = match text.split_once(':') {
            Some((status, detail)) => (status, Some(detail)),
            None => (text, None),
        };
        let fits = |text: &str, is_fit: fn(&char) -> bool| {
            (1..=LONGEST).contains(&text.len()) && text.chars().all(|c| is_fit(&c))
        };
        match fits(status, is_status) && detail.is_none_or(|detail| fits(detail, is_detail)) {
            true => Ok(Reason { status: status.to_owned(), detail: detail.map(str::to_owned) }),
            false => Err(NotAReason),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_what_an_operator_needs() {
        for ([status, code, last], word, words) in [
            (
                ["L4CON", "", "Connection refused at initial connection step of tcp-check"],
                "L4CON",
                "connection refused",
            ),
            (["L4CON", "", "No route to host"], "L4CON:unreachable", "its address is unreachable"),
            (["L4CON", "", "Connection reset by peer"], "L4CON:failed", "the connection failed"),
            (["L7STS", "503", "HTTP status check returned code <503>"], "L7STS:503", "HTTP status 503"),
            (["L7OK", "200", ""], "L7OK", "the last check passed; it is up after the next ones"),
            (["L6RSP", "", "SSL handshake failure"], "L6RSP", "the TLS handshake failed"),
            (["HANA 7 \n", "", ""], "HANA7", "the check failed: HANA7"),
            (["", "", ""], "UNK", "not checked yet"),
        ] {
            let reason = Reason::of(status, code, last);
            assert_eq!((reason.to_string().as_str(), reason.words(None).as_str()), (word, words));
            assert_eq!(word.parse(), Ok(reason));
        }
    }

    #[test]
    fn a_silent_target_is_a_matter_of_its_security_group() {
        let reason = Reason::of("L4TOUT", "", "");
        assert!(reason.is_silence() && reason.is_failure());
        assert_eq!(reason.words(Some("sg-1")), "timeout at layer 4: does its security group admit sg-1?");
    }

    #[test]
    fn text_that_haproxy_does_not_write_is_refused() {
        for text in ["", "l4con", "L4CON:", ":503", "L4CON:a b", "L7STS:503:1", "L4CON\u{1b}", "ABCDEFGHIJKLMNOPQ"] {
            assert_eq!(text.parse::<Reason>(), Err(NotAReason), "{text:?}");
        }
    }
}
