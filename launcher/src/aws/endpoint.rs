//! Checks the AWS endpoint URLs of the environment and the profile before the first call.

use url::Url;

use super::profile::Profile;
use crate::output::failure::Failure;

/// The endpoint of all services; with a suffix such as `_EC2`, of one (AWS SDKs guide, "Service-specific endpoints").
const VARIABLE: &str = "AWS_ENDPOINT_URL";

/// Refuses values that aren't HTTP URLs.
pub(super) fn check(profile: Option<&Profile>) -> Result<(), Failure> {
    let said = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(VARIABLE))?;
        Some((name, value.to_string_lossy().into_owned()))
    };
    let mut said: Vec<(String, String)> = std::env::vars_os().filter_map(said).collect();
    said.sort();
    let profiles = profile.and_then(|profile| Some((profile.name.clone(), profile.get("endpoint_url")?)));
    said.extend(profiles.map(|(name, value)| (format!("endpoint_url of profile {name:?}"), value)));
    let problems = said.iter().filter_map(|(name, value)| problem(value).map(|problem| format!("{name}: {problem}")));
    match problems.collect::<Vec<_>>() {
        none if none.is_empty() => Ok(()),
        problems => Err(Failure::BadInput(problems)),
    }
}

/// What is wrong with an endpoint. An empty value counts as unset.
fn problem(value: &str) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let fit = |url: Url| {
        let plain = url.username().is_empty() && url.password().is_none();
        plain && matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
    };
    let wrong = "isn't an endpoint URL: set one such as https://ec2.eu-west-1.amazonaws.com";
    match Url::parse(value) {
        Ok(url) if fit(url.clone()) => None,
        // A password must not be printed.
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Some(format!("its value {wrong}")),
        _ => Some(format!("{value:?} {wrong}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_endpoints() {
        for fit in ["", "http://127.0.0.1:4566", "https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com/", "http://[::1]:80"]
        {
            assert_eq!(problem(fit), None, "{fit}");
        }
        for unfit in ["foo", "127.0.0.1:4566", "ftp://host", "https://", "http://host:port", "https://u:pw@host"] {
            let said = problem(unfit).expect(unfit);
            assert!(said.contains("isn't an endpoint URL: set one such as https://"), "{said}");
            assert!(!said.contains("pw"), "{said}");
        }
    }
}
