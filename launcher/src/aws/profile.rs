//! Reads the operator's AWS profile. The SDK's providers ignore a missing profile or unreadable files, and then report
//! a missing Region or missing credentials.

use aws_config::profile::{Profile as Section, ProfileSet, load};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use crate::output::failure::Failure;

/// A profile that was named, by `--profile` or `AWS_PROFILE`.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub name: String,
    section: Section,
}

impl Profile {
    /// The named profile, if there is a name.
    pub async fn selected(named: Option<&str>) -> Result<Option<Profile>, Failure> {
        let environment = || std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let name = named.map(str::to_owned).or_else(environment);
        let profiles = load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), None).await.map_err(unreadable)?;
        name.map(|name| of(&profiles, name)).transpose()
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.section.get(key).map(str::to_owned)
    }

    /// Whether its credentials come from SSO.
    pub fn is_sso(&self) -> bool {
        self.section.get("sso_session").is_some() || self.section.get("sso_start_url").is_some()
    }
}

fn of(profiles: &ProfileSet, name: String) -> Result<Profile, Failure> {
    if let Some(section) = profiles.get_profile(&name) {
        return Ok(Profile { section: section.clone(), name });
    }
    let mut known: Vec<&str> = profiles.profiles().collect();
    known.sort_unstable();
    let known = match known[..] {
        [] => "AWS's config and credentials files have none".to_owned(),
        _ => format!("use one of {}", known.join(", ")),
    };
    Err(Failure::bad_input(format!("AWS profile {name:?} doesn't exist: {known}")))
}

fn unreadable(error: aws_config::profile::ProfileFileLoadError) -> Failure {
    let error = format!("{:#}", anyhow::Error::new(error));
    let words: Vec<&str> = error.split_whitespace().collect();
    Failure::bad_input(format!("AWS's configuration: {}", words.join(" ")))
}
