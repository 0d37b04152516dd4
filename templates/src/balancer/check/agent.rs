//! Checks of `[agent]`.

use super::{Checked, Problem};
use crate::balancer::location::at;
use crate::balancer::{AgentSource, Balancer};

/// All problems, at most one for each value.
pub fn all(balancer: &Balancer) -> Vec<Problem> {
    let Some(AgentSource { source: from, sha256: digest }) = &balancer.agent else { return Vec::new() };
    [source(from), sha256(digest)].into_iter().filter_map(Result::err).collect()
}

/// Refuses what only the launcher writes.
pub fn not_for_files(balancer: &Balancer) -> Checked {
    if balancer.agents.is_empty() {
        return Ok(());
    }
    Err(Problem::new(at!["agents"], "unknown key; did you mean agent?"))
}

fn source(source: &str) -> Checked {
    let wrong = |what: &str| Err(Problem::new(at!["agent", "source"], format!("{source:?} {what}")));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_.-".contains(&b));
    if let Some(object) = source.strip_prefix("s3://") {
        let (bucket, key) = object.split_once('/').unwrap_or((object, ""));
        // S3's certificate doesn't cover a bucket with a dot, in virtual-hosted requests.
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let is_key = !key.is_empty() && !key.starts_with('/') && plain(key);
        return match is_bucket && is_key {
            true => Ok(()),
            false => wrong(
                "is not an object in S3; write s3://bucket/key, with a-z, 0-9 and - in the bucket, and a-z, A-Z, 0-9 \
                 and /_.- in the key",
            ),
        };
    }
    if source.starts_with('/') {
        return match plain(source) && !source.ends_with('/') {
            true => Ok(()),
            false => wrong("is not a file's path; use a-z, A-Z, 0-9 and /_.-"),
        };
    }
    let Some(rest) = source.strip_prefix("https://").or_else(|| source.strip_prefix("http://")) else {
        return wrong("is neither a URL (https://, http:// or s3://) nor an absolute path");
    };
    if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
        return wrong("has no host; write https://host/path");
    }
    if rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@')) {
        let said = "has a user or a password, which user-data, install.sh and dry runs would show; remove them (the URL \
                    isn't shown here)";
        return Err(Problem::new(at!["agent", "source"], said));
    }
    // install.sh contains the URL in single quotes.
    if source.len() > 2000 || !source.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\`<>{}|^".contains(&b)) {
        return wrong("is not a URL; use at most 2000 of the characters of RFC 3986, without quotes");
    }
    Ok(())
}

fn sha256(sha256: &str) -> Checked {
    if sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Problem::new(
        at!["agent", "sha256"],
        format!("{sha256:?} is not a SHA-256; write 64 hex digits, as sha256sum prints"),
    ))
}
