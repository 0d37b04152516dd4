//! Where AWS's API is, if the environment or the profile says so: an address that can't be one is refused before it is
//! called.

use url::Url;

use super::profile::Profile;
use crate::output::failure::Failure;

/// The variable for all services; `_EC2` and the like after it say one's own (AWS SDKs guide, "Service-specific endpoints").
const VARIABLE: &str = "AWS_ENDPOINT_URL";

/// Refuses addresses that can't be one.
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

/// What is wrong with an endpoint. Empty is as good as unset.
fn problem(value: &str) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let fit = |url: Url| {
        let plain = url.username().is_empty() && url.password().is_none();
        plain && matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
    };
    let wrong = "is no endpoint: write one such as https://ec2.eu-west-1.amazonaws.com";
    match Url::parse(value) {
        Ok(url) if fit(url.clone()) => None,
        // A password isn't repeated.
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Some(format!("what it names {wrong}")),
        _ => Some(format!("{value:?} {wrong}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_and_that_cannot() {
        for fit in ["", "http://127.0.0.1:4566", "https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com/", "http://[::1]:80"]
        {
            assert_eq!(problem(fit), None, "{fit}");
        }
        for unfit in ["foo", "127.0.0.1:4566", "ftp://host", "https://", "http://host:port", "https://u:pw@host"] {
            let said = problem(unfit).expect(unfit);
            assert!(said.contains("is no endpoint: write one such as https://"), "{said}");
            assert!(!said.contains("pw"), "{said}");
        }
    }
}
