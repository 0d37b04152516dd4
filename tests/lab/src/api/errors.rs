//! Writes errors in each AWS service's format, for calls that the lab fails, and reads error codes from moto's answers.
//!
//! Shapes: EC2 API Reference, "Error codes"; IAM and STS API References, "Common errors" (query protocol);
//! AWS JSON 1.1 protocol for SSM; S3 API Reference, "Error responses".

use hyper::{Response, StatusCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use rand::Rng;

use crate::serving::{Body, answer};

/// The service's error code for a throttled call.
pub fn throttling_code(service: &str) -> &'static str {
    match service {
        "ec2" => "RequestLimitExceeded",
        "ssm" => "ThrottlingException",
        "s3" => "SlowDown",
        _ => "Throttling",
    }
}

/// The HTTP status of an error code.
pub fn status_of(service: &str, code: &str) -> StatusCode {
    match code {
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => StatusCode::FORBIDDEN,
        "AuthFailure" if service == "ec2" => StatusCode::UNAUTHORIZED,
        "RequestLimitExceeded" | "Unavailable" | "ServiceUnavailable" | "SlowDown" => StatusCode::SERVICE_UNAVAILABLE,
        "NoSuchEntity" if service == "iam" => StatusCode::NOT_FOUND,
        "NoSuchBucket" | "NoSuchKey" if service == "s3" => StatusCode::NOT_FOUND,
        "EntityAlreadyExists" | "DeleteConflict" | "LimitExceeded" if service == "iam" => StatusCode::CONFLICT,
        "DryRunOperation" => StatusCode::PRECONDITION_FAILED,
        "ResourceContention" | "ServiceLinkedRoleFailure" => StatusCode::INTERNAL_SERVER_ERROR,
        _ if is_server_error(code) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// EC2's "Server error codes": faults on AWS's side.
fn is_server_error(code: &str) -> bool {
    code.starts_with("Internal") || (code.starts_with("Insufficient") && code.ends_with("Capacity"))
}

/// An answer with this error, in the service's format.
pub fn refusal(service: &str, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let id = request_id();
    let (content_type, body) = match service {
        "ssm" => ("application/x-amz-json-1.1", serde_json::json!({"__type": code, "message": message}).to_string()),
        "ec2" => ("text/xml;charset=UTF-8", ec2_body(code, message, &id)),
        "s3" => ("application/xml", s3_body(code, message, &id)),
        _ => ("text/xml", query_body(service, status, code, message, &id)),
    };
    let mut answer = answer(status, content_type, body);
    if let Ok(id) = id.parse() {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    answer
}

fn ec2_body(code: &str, message: &str, id: &str) -> String {
    let (code, message) = (quick_xml::escape::escape(code), quick_xml::escape::escape(message));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error></Errors><RequestID>{id}</RequestID></Response>"
    )
}

fn s3_body(code: &str, message: &str, id: &str) -> String {
    let (code, message) = (quick_xml::escape::escape(code), quick_xml::escape::escape(message));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>{id}</RequestId></Error>"
    )
}

fn query_body(service: &str, status: StatusCode, code: &str, message: &str, id: &str) -> String {
    let namespace = match service {
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    };
    let at_fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let (code, message) = (quick_xml::escape::escape(code), quick_xml::escape::escape(message));
    format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{at_fault}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
}

fn request_id() -> String {
    let id = format!("{:032x}", rand::rng().random::<u128>());
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}

/// The error code in an answer's body, XML or JSON.
pub fn code_in(body: &[u8]) -> Option<String> {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let code = json.get("__type").or_else(|| json.get("code"))?.as_str()?;
        return code.rsplit('#').next().map(str::to_owned);
    }
    let text = std::str::from_utf8(body).ok()?;
    let mut reader = Reader::from_str(text);
    let mut within = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => within.push(tag.name().as_ref().to_vec()),
            Event::End(_) => _ = within.pop(),
            Event::Text(text) if within.ends_with(&[b"Error".to_vec(), b"Code".to_vec()]) => {
                return text.decode().ok().map(|code| code.trim().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(answer: Response<Body>) -> Vec<u8> {
        answer.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn every_service_reads_back_the_code_in_its_own_shape() {
        for service in ["ec2", "iam", "sts", "autoscaling", "ssm", "s3"] {
            let code = throttling_code(service);
            let answer = refusal(service, status_of(service, code), code, "Rate <exceeded> & more.");
            assert!(answer.headers().contains_key("x-amzn-requestid"));
            assert_eq!(code_in(&body(answer).await).as_deref(), Some(code), "{service}");
        }
    }

    #[tokio::test]
    async fn ec2_throttles_as_documented() {
        let answer =
            refusal("ec2", status_of("ec2", "RequestLimitExceeded"), "RequestLimitExceeded", "Request limit exceeded.");
        assert_eq!(answer.status(), 503);
        let body = String::from_utf8(body(answer).await).unwrap();
        let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
                     <Message>Request limit exceeded.</Message></Error></Errors><RequestID>";
        assert!(body.starts_with(start), "{body}");
    }

    #[test]
    fn statuses_follow_the_code_and_the_service() {
        assert_eq!(status_of("ec2", "UnauthorizedOperation"), 403);
        assert_eq!(status_of("ec2", "InvalidParameterValue"), 400);
        assert_eq!(status_of("ec2", "InsufficientInstanceCapacity"), 500);
        assert_eq!(status_of("iam", "Throttling"), 400);
        assert_eq!(status_of("iam", "NoSuchEntity"), 404);
        assert_eq!(status_of("s3", "SlowDown"), 503);
        assert_eq!(status_of("ec2", "InternalError"), 500);
        assert_eq!(status_of("autoscaling", "ServiceLinkedRoleFailure"), 500);
    }

    #[test]
    fn answers_without_an_error_have_no_code() {
        assert_eq!(code_in(b"<DescribeVpcsResponse><Code>5</Code></DescribeVpcsResponse>"), None);
        assert_eq!(code_in(b"{\"Parameter\":{}}"), None);
        assert_eq!(code_in(b"Internal Server Error"), None);
        assert_eq!(code_in(b"\xff\xfe"), None);
        assert_eq!(
            code_in(br#"{"__type":"com.amazonaws.ssm#ParameterNotFound"}"#).as_deref(),
            Some("ParameterNotFound")
        );
    }
}
