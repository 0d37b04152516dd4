//! A recorded API call, as `lab calls` shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// Prefixes of actions that change nothing.
const READING: [&str; 10] =
    ["Describe", "Get", "List", "Lookup", "Search", "Head", "AssumeRole", "Decode", "Simulate", "Validate"];

/// One call of the AWS API, with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When the request arrived.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// From the request's arrival to the answer, in milliseconds.
    pub duration_ms: f64,
    /// The service's signing name: `ec2`, `iam`, `ssm`, …
    pub service: String,
    /// The action, such as `ReplaceRoute`.
    pub action: String,
    pub caller: Caller,
    /// The answer's HTTP status; 0 if the request was lost before it reached the API.
    pub status: u16,
    /// The answer's error code, such as `RequestLimitExceeded`.
    pub error: Option<String>,
    /// The request's parameters, with their names on the wire: `Filter.1.Name`.
    pub request: Value,
}

impl Call {
    /// Whether its action can change something, and it isn't a dry run.
    pub fn is_mutating(&self) -> bool {
        is_mutating(&self.action) && !self.is_dry_run()
    }

    /// Whether it only asks for the permission (EC2 API reference, "Common query parameters").
    pub fn is_dry_run(&self) -> bool {
        self.parameter("DryRun") == Some("true")
    }

    /// Whether the status is 2xx.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A parameter of the request.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.request.get(name).and_then(Value::as_str)
    }
}

/// Whether an action of this name can change something.
pub fn is_mutating(action: &str) -> bool {
    !READING.iter().any(|prefix| action.starts_with(prefix))
}

fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{time:.6}"))
}

/// The caller of an API call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Caller {
    /// The launcher, known by its user agent.
    Launcher,
    /// An instance, known by its address or its credentials.
    Instance(String),
    /// Another program.
    Other,
}

impl From<String> for Caller {
    fn from(text: String) -> Caller {
        match text.as_str() {
            "launcher" => Caller::Launcher,
            "other" => Caller::Other,
            _ => Caller::Instance(text),
        }
    }
}

impl From<Caller> for String {
    fn from(caller: Caller) -> String {
        caller.to_string()
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Caller::Launcher => "launcher",
            Caller::Instance(id) => id,
            Caller::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_written_with_exactly_the_promised_fields() {
        let call = Call {
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            duration_ms: 101.25,
            service: "ec2".into(),
            action: "ReplaceRoute".into(),
            caller: Caller::Instance("i-0a".into()),
            status: 503,
            error: Some("RequestLimitExceeded".into()),
            request: json!({"RouteTableId": "rtb-1"}),
        };
        let line = serde_json::to_string(&call).unwrap();
        let expected = concat!(
            r#"{"time":"2026-01-02T03:04:05.000000Z","duration_ms":101.25,"service":"ec2","action":"ReplaceRoute","#,
            r#""caller":"i-0a","status":503,"error":"RequestLimitExceeded","request":{"RouteTableId":"rtb-1"}}"#
        );
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<Call>(&line).unwrap(), call);
        assert_eq!(call.parameter("RouteTableId"), Some("rtb-1"));
        assert!(call.is_mutating());
        assert!(!Call { request: json!({"DryRun": "true"}), ..call }.is_mutating());
    }

    #[test]
    fn only_actions_that_change_the_world_are_mutating() {
        for action in ["RunInstances", "ReplaceRoute", "PutRolePolicy", "AttachRolePolicy", "AddRoleToInstanceProfile"]
        {
            assert!(is_mutating(action), "{action}");
        }
        for action in ["DescribeInstances", "GetRole", "ListRoles", "GetCallerIdentity", "AssumeRole", "GetParameter"] {
            assert!(!is_mutating(action), "{action}");
        }
    }
}
