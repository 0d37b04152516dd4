//! Finds the AWS credentials before the first call, so that missing or invalid ones are reported at once.

use std::time::Duration;

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::profile::Profile;
use super::{Account, error};
use crate::output::failure::Failure;

/// Longer than a profile's helper program or an SSO refresh takes.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn find(
    account: &Account,
    profile: Option<&Profile>,
    http: &SharedHttpClient,
    imds: imds::Client,
    region: Region,
) -> Result<SharedCredentialsProvider, Failure> {
    let config = ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region.clone()));
    let chain = match &account.profile {
        // A named profile excludes the environment's credentials: they may belong to another account.
        Some(name) => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build(),
        ),
        None => {
            let chain = DefaultCredentialsChain::builder().configure(config).region(region).imds_client(imds);
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let missing = |why: String| Failure::bad_input(format!("no AWS credentials: {} ({why})", way_out(profile)));
    match tokio::time::timeout(PATIENCE, chain.provide_credentials()).await {
        Ok(Ok(credentials)) => check(&credentials).map(|()| chain),
        Ok(Err(error)) => Err(missing(why(profile, &error))),
        Err(_) => Err(missing(format!("none of the providers answered within {} s", PATIENCE.as_secs()))),
    }
}

fn way_out(profile: Option<&Profile>) -> String {
    match profile {
        Some(profile) if profile.is_sso() => format!("sign in with `aws sso login --profile {}`", profile.name),
        Some(profile) => format!("profile {:?} provides none", profile.name),
        None => "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in".to_owned(),
    }
}

fn why(profile: Option<&Profile>, error: &CredentialsError) -> String {
    let why = error::innermost(error);
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) && profile.is_some_and(|profile| !profile.is_sso()) {
        return "add keys, a role, an SSO session or a credential process to it".to_owned();
    }
    // The other lines list the providers.
    let first = why.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
    first.trim_end_matches(" Attempted").trim_end_matches('.').to_owned()
}

/// Refuses credentials that can't be sent in an HTTP header, before the SDK tries.
fn check(credentials: &Credentials) -> Result<(), Failure> {
    let sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = [
        ("access key id", sendable(credentials.access_key_id())),
        ("session token", credentials.session_token().is_none_or(sendable)),
    ];
    match parts.into_iter().find(|(_, sendable)| !sendable) {
        None => Ok(()),
        Some((part, _)) => Err(Failure::bad_input(format!(
            "the AWS {part} contains an invalid character, such as a line break or a space: set it again"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_with_invalid_characters_are_refused_and_not_shown() {
        let of = |id: &str, token: Option<&str>| {
            let credentials = Credentials::new(id, "secret", token.map(str::to_owned), None, "test");
            check(&credentials).map_err(|failure| failure.lines().join("; "))
        };
        assert_eq!(of("AKIAX", None), Ok(()));
        assert_eq!(of("AKIAX", Some("abc/+==")), Ok(()));
        for (id, token, part) in [("AKIAX\r", None, "access key id"), ("AKIAX", Some("se cret"), "session token")] {
            let said = of(id, token).expect_err(id);
            assert!(said.contains(part) && !said.contains("AKIAX") && !said.contains("cret"), "{said}");
        }
    }
}
