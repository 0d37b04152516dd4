//! Whom to be: found before the first call, so that who has no credentials, or such as can't be sent, hears so at once.

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

/// Longer than a profile's helper program or an SSO refresh takes; shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(15);

/// The provider that has them.
pub(super) async fn find(
    account: &Account,
    profile: Option<&Profile>,
    http: &SharedHttpClient,
    imds: imds::Client,
    region: Region,
) -> Result<SharedCredentialsProvider, Failure> {
    let config = ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region.clone()));
    let chain = match &account.profile {
        // What was named counts, not what else the environment has: the wrong account would be another's balancer.
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
        Some(profile) => format!("profile {:?} gives none", profile.name),
        None => "set AWS_PROFILE or AWS_ACCESS_KEY_ID, or sign in".to_owned(),
    }
}

fn why(profile: Option<&Profile>, error: &CredentialsError) -> String {
    let why = error::innermost(error);
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) && profile.is_some_and(|profile| !profile.is_sso()) {
        return "it holds no keys, and names no role, SSO session or program that has some".to_owned();
    }
    // The rest says, over several lines, which providers there are.
    let first = why.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
    first.trim_end_matches(" Attempted").trim_end_matches('.').to_owned()
}

/// They go into headers, and the SDK doesn't get over one that can't be.
fn check(credentials: &Credentials) -> Result<(), Failure> {
    let sendable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = [
        ("access key id", sendable(credentials.access_key_id())),
        ("session token", credentials.session_token().is_none_or(sendable)),
    ];
    match parts.into_iter().find(|(_, sendable)| !sendable) {
        None => Ok(()),
        Some((part, _)) => Err(Failure::bad_input(format!(
            "the AWS {part} has a character in it that none has, such as a line break or a space: set it anew"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_carry_is_refused_without_being_shown() {
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
