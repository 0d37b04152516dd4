//! Reads requests to S3, which name their bucket and key in the path or in the host, and no action.
//!
//! S3 API reference, "Actions"; S3 User Guide, "Virtual hosting of general purpose buckets". `moto/patches/s3` refuses
//! the actions that aren't here.

use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Parameters that select an action; others belong to it.
const SELECTING: [&str; 9] = [
    "delete",
    "encryption",
    "list-type",
    "location",
    "ownershipControls",
    "publicAccessBlock",
    "tagging",
    "uploadId",
    "uploads",
];

/// The action of a request to `host`, and its parameters with `Bucket` and `Key`. The action is empty if it is unknown.
pub fn read(head: &Parts, host: &str) -> (String, Value) {
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    let path = path.trim_start_matches('/');
    let (bucket, key) = match bucket_of(host) {
        Some(bucket) if !bucket.is_empty() => (bucket, path),
        _ => path.split_once('/').unwrap_or((path, "")),
    };
    let mut parameters = Map::new();
    for (name, value) in [("Bucket", bucket), ("Key", key)].into_iter().filter(|(_, value)| !value.is_empty()) {
        parameters.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    for (name, value) in form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()) {
        parameters.insert(name.into_owned(), Value::String(value.into_owned()));
    }
    let place = match (bucket.is_empty(), key.is_empty()) {
        (true, _) => "account",
        (false, true) => "bucket",
        (false, false) => "object",
    };
    let selecting = SELECTING.into_iter().find(|name| parameters.contains_key(*name)).unwrap_or_default();
    let action = action(place, head.method.as_str(), selecting);
    (action.to_owned(), Value::Object(parameters))
}

/// The bucket in a name of S3: empty in `s3.REGION.amazonaws.com`, and none in a name of another service.
pub fn bucket_of(host: &str) -> Option<&str> {
    let host = host.split(':').next()?.strip_suffix(".amazonaws.com")?;
    let (host, _region) = host.rsplit_once('.')?;
    match host.strip_suffix("s3")? {
        "" => Some(""),
        bucket => bucket.strip_suffix('.'),
    }
}

fn action(place: &str, method: &str, selecting: &str) -> &'static str {
    match (place, method, selecting) {
        ("account", "GET", "") => "ListBuckets",
        ("bucket", "GET", "") => "ListObjects",
        ("bucket", "GET", "list-type") => "ListObjectsV2",
        ("bucket", "HEAD", "") => "HeadBucket",
        ("bucket", "PUT", "") => "CreateBucket",
        ("bucket", "DELETE", "") => "DeleteBucket",
        ("bucket", "POST", "delete") => "DeleteObjects",
        ("bucket", "GET", "location") => "GetBucketLocation",
        ("bucket", "GET", "encryption") => "GetBucketEncryption",
        ("bucket", "PUT", "encryption") => "PutBucketEncryption",
        ("bucket", "GET", "ownershipControls") => "GetBucketOwnershipControls",
        ("bucket", "PUT", "ownershipControls") => "PutBucketOwnershipControls",
        ("bucket", "GET", "publicAccessBlock") => "GetPublicAccessBlock",
        ("bucket", "PUT", "publicAccessBlock") => "PutPublicAccessBlock",
        ("bucket", "GET", "tagging") => "GetBucketTagging",
        ("bucket", "PUT", "tagging") => "PutBucketTagging",
        ("bucket", "DELETE", "tagging") => "DeleteBucketTagging",
        ("bucket", "GET", "uploads") => "ListMultipartUploads",
        ("object", "GET", "") => "GetObject",
        ("object", "HEAD", "") => "HeadObject",
        ("object", "PUT", "") => "PutObject",
        ("object", "DELETE", "") => "DeleteObject",
        ("object", "POST", "uploads") => "CreateMultipartUpload",
        ("object", "PUT", "uploadId") => "UploadPart",
        ("object", "POST", "uploadId") => "CompleteMultipartUpload",
        ("object", "DELETE", "uploadId") => "AbortMultipartUpload",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use serde_json::json;

    use super::*;

    const REGIONAL: &str = "s3.eu-west-1.amazonaws.com";

    fn asked(method: &str, host: &str, target: &str) -> (String, Value) {
        let request = Request::builder().method(method).uri(target).body(()).unwrap();
        read(&request.into_parts().0, host)
    }

    #[test]
    fn a_bucket_is_in_the_host_or_in_the_path() {
        let object = ("GetObject".to_owned(), json!({"Bucket": "elbow-1", "Key": "agent/0a b"}));
        for (host, target) in [
            ("elbow-1.s3.eu-west-1.amazonaws.com", "/agent/0a%20b"),
            ("elbow-1.s3.eu-west-1.amazonaws.com:443", "/agent/0a%20b"),
            (REGIONAL, "/elbow-1/agent/0a%20b"),
            ("127.0.0.1:4566", "/elbow-1/agent/0a%20b"),
        ] {
            assert_eq!(asked("GET", host, target), object, "{host}{target}");
        }
    }

    #[test]
    fn the_method_and_the_parameters_give_the_action() {
        for (method, target, action) in [
            ("GET", "/", "ListBuckets"),
            ("PUT", "/b", "CreateBucket"),
            ("PUT", "/b?publicAccessBlock", "PutPublicAccessBlock"),
            ("GET", "/b/?list-type=2&prefix=agent%2F", "ListObjectsV2"),
            ("PUT", "/b/k?x-id=PutObject", "PutObject"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart"),
            ("DELETE", "/b/k", "DeleteObject"),
            ("PATCH", "/b/k", ""),
        ] {
            assert_eq!(asked(method, REGIONAL, target).0, action, "{method} {target}");
        }
    }

    #[test]
    fn names_of_other_services_have_no_bucket() {
        assert_eq!(bucket_of(REGIONAL), Some(""));
        assert_eq!(bucket_of("a.b.s3.eu-west-1.amazonaws.com"), Some("a.b"));
        for host in ["ec2.eu-west-1.amazonaws.com", "news3.eu-west-1.amazonaws.com", "s3.example.com", "127.0.0.1:80"] {
            assert_eq!(bucket_of(host), None, "{host}");
        }
    }
}
