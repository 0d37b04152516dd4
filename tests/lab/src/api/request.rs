//! Reads the service, action and parameters of a request to the AWS API, in each service's protocol.
//!
//! EC2, IAM, STS and Auto Scaling take forms with an `Action`; SSM takes JSON and an `X-Amz-Target` header; S3 has paths
//! (`s3.rs`). The service comes from the signature's credential scope (Signature Version 4), or else from the host name.

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::request::Parts;
use serde_json::{Map, Value};

use super::s3;

/// The application name in the launcher's user agent.
const LAUNCHER: &str = "app/elbow-launcher";

/// A parsed request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The service's signing name.
    pub service: String,
    /// The action; empty if the request names none.
    pub action: String,
    pub parameters: Value,
    /// The access key in its signature.
    pub access_key: Option<String>,
    /// Whether its user agent names the launcher.
    pub by_launcher: bool,
}

impl Asked {
    /// Parses a request.
    pub fn read(head: &Parts, body: &[u8]) -> Asked {
        let access_key = scope(head).split('/').next().filter(|key| !key.is_empty()).map(str::to_owned);
        let service = service(head);
        let (action, parameters) = match header(head, "x-amz-target") {
            _ if service == "s3" => s3::read(head, header(head, HOST.as_str()).unwrap_or_default()),
            Some(target) => (target.rsplit('.').next().unwrap_or(target).to_owned(), json(body)),
            None => form(head, body),
        };
        let by_launcher =
            [USER_AGENT.as_str(), "x-amz-user-agent"].iter().any(|name| names_launcher(header(head, name)));
        Asked { service, action, parameters, access_key, by_launcher }
    }
}

/// The signing name of a request's service; empty if it is unknown.
pub fn service(head: &Parts) -> String {
    scope(head).split('/').nth(3).map_or_else(|| host_service(head), str::to_owned)
}

fn scope(head: &Parts) -> &str {
    header(head, AUTHORIZATION.as_str()).and_then(credential).unwrap_or_default()
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

fn names_launcher(agent: Option<&str>) -> bool {
    agent.is_some_and(|agent| agent.split_whitespace().any(|word| word == LAUNCHER))
}

/// `KEY/DATE/REGION/SERVICE/aws4_request` out of an Authorization header.
fn credential(authorization: &str) -> Option<&str> {
    let (_, rest) = authorization.split_once("Credential=")?;
    rest.split([',', ' ']).next()
}

fn host_service(head: &Parts) -> String {
    let host = header(head, HOST.as_str()).unwrap_or_default();
    match host.split_once('.') {
        _ if s3::bucket_of(host).is_some() => "s3".to_owned(),
        Some((service, rest)) if rest.contains("amazonaws.com") => service.to_owned(),
        _ => String::new(),
    }
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// A form's fields, from the URL's query and from the body: the query protocol allows both.
fn form(head: &Parts, body: &[u8]) -> (String, Value) {
    let in_body =
        header(head, CONTENT_TYPE.as_str()).is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    let body = if in_body { body } else { b"" };
    let query = head.uri.query().unwrap_or_default();
    let mut action = String::new();
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body)) {
        match name.as_ref() {
            "Action" => action = value.into_owned(),
            "Version" => {}
            _ => _ = fields.insert(name.into_owned(), Value::String(value.into_owned())),
        }
    }
    (action, Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use serde_json::json;

    use super::*;

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260102/eu-west-1/ec2/aws4_request, \
                          SignedHeaders=host, Signature=00";

    fn read(request: hyper::http::request::Builder, body: &str) -> Asked {
        Asked::read(&request.body(()).unwrap().into_parts().0, body.as_bytes())
    }

    #[test]
    fn a_query_call_is_read_from_its_form_and_its_signature() {
        let request = Request::post("/")
            .header("authorization", SIGNED)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("user-agent", "aws-sdk-rust/1.3 os/linux lang/rust/1.94 app/elbow-launcher");
        let asked = read(
            request,
            "Action=ReplaceRoute&Version=2016-11-15&RouteTableId=rtb-1&DestinationCidrBlock=10.255.0.10%2F32",
        );
        assert_eq!((asked.service.as_str(), asked.action.as_str()), ("ec2", "ReplaceRoute"));
        assert_eq!(asked.parameters, json!({"RouteTableId": "rtb-1", "DestinationCidrBlock": "10.255.0.10/32"}));
        assert_eq!(asked.access_key.as_deref(), Some("AKIAEXAMPLE"));
        assert!(asked.by_launcher);
    }

    #[test]
    fn a_json_call_is_read_from_its_target() {
        let request = Request::post("/")
            .header("authorization", SIGNED.replace("/ec2/", "/ssm/"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "AmazonSSM.GetParameter");
        let asked = read(request, r#"{"Name":"/aws/service/x"}"#);
        assert_eq!((asked.service.as_str(), asked.action.as_str()), ("ssm", "GetParameter"));
        assert_eq!(asked.parameters, json!({"Name": "/aws/service/x"}));
        assert!(!asked.by_launcher);
    }

    #[test]
    fn an_unsigned_calls_service_is_read_from_its_host() {
        let asked = read(Request::get("/?Action=DescribeVpcs").header("host", "ec2.eu-west-1.amazonaws.com"), "");
        assert_eq!((asked.service.as_str(), asked.action.as_str()), ("ec2", "DescribeVpcs"));
        assert_eq!(asked.access_key, None);
        let asked = read(Request::get("/agent/0a").header("host", "elbow-1.s3.eu-west-1.amazonaws.com"), "");
        assert_eq!((asked.service.as_str(), asked.action.as_str()), ("s3", "GetObject"));
        assert_eq!(asked.parameters, json!({"Bucket": "elbow-1", "Key": "agent/0a"}));
        let asked = read(Request::get("/").header("host", "127.0.0.1:4566"), "");
        assert_eq!((asked.service.as_str(), asked.action.as_str()), ("", ""));
    }
}
