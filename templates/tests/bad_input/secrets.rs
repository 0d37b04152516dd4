//! A webhook's address is a secret in any table: an operator may write it in a wrong one.

use templates::Balancer;

use crate::GOOD;

#[test]
fn no_error_shows_a_webhook_in_a_wrong_place() {
    let values = [
        "webhook = \"S3cret\"",
        "webhook = 'S3cret' # why",
        "\"webhook\" = [\"S3cret\"]",
        "webhook = \"S3cret",
        "webhook \"S3cret=\"",
        "webhook = \"\"\"\nS3cret\n\"\"\"",
        "webhook = \"\"\"\nS3cret\n",
        "logs = { webhook = \"S3cret\" }",
        "logs = { syslog = 5, webhook = \"S3cret\" }",
        "logs = [{ webhook = \"S3cret\" }]",
        "failover = [{ webhook = \"S3cret\" }]",
        "tags = { webhook = [\"S3cret\"] }",
        "tags = { webhook = \"S3cret&\" }",
        "response_headers = { webhook = \"S3cret\\u0007\" }",
        "rule = [{ if = { header = { webhook = \"S3cret\" } }, forward = \"a\" }]",
        "rule = [{ if = { query = { webhook = [\"S3cret\\u0007\"] } }, respond = { status = 404 } }]",
    ];
    let mut tried = 0;
    for (at, value) in ["\n[agent]", "[[listener]]"].into_iter().flat_map(|at| values.map(|value| (at, value))) {
        let text = match at {
            "[[listener]]" => GOOD.replacen(at, &format!("{at}\n{value}"), 1),
            _ => GOOD.replacen(at, &format!("{value}\n{at}"), 1),
        };
        let Err(error) = Balancer::parse(&text) else { continue };
        tried += 1;
        for span in error.0.iter().filter_map(|finding| finding.span.clone()) {
            // A caret's line would show it.
            let start = text[..span.start].rfind('\n').map_or(0, |before| before + 1);
            let end = text[span.end..].find('\n').map_or(text.len(), |after| span.end + after);
            assert!(!text[start..end].contains("S3cret"), "{value}: {}", &text[start..end]);
        }
        let error = format!("{error} {error:?}");
        assert!(!error.contains("S3cret"), "{value}: {error}");
    }
    assert_eq!(tried, 2 * values.len(), "all are errors");
}

#[test]
fn a_group_with_the_name_of_the_key_is_shown() {
    let text = GOOD.replacen("[[listener]]", "[[listener]]\nforward = \"webhook\"", 1);
    let error = Balancer::parse(&text).unwrap_err();
    assert!(error.0.iter().any(|finding| finding.message.contains("\"webhook\"") && finding.span.is_some()), "{error}");
}
