//! Caches the role's credentials and renews them by a timer, so that no call of a takeover waits for IMDS.

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};

use super::error::chain;

/// IMDS has new credentials at least five minutes before the old ones expire (AWS: "Retrieve security credentials from
/// instance metadata").
const EARLY: Duration = Duration::from_secs(5 * 60);
/// The interval between attempts while IMDS has no new credentials.
const RETRY: Duration = Duration::from_secs(20);
/// The longest time between two reads: an instance's role can be attached or detached at any time.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The cached credentials and their source.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    source: SharedCredentialsProvider,
    current: Arc<RwLock<Option<Credentials>>>,
}

impl Kept {
    pub(super) fn new(source: impl ProvideCredentials + 'static) -> Self {
        Kept { source: SharedCredentialsProvider::new(source), current: Arc::default() }
    }

    /// Renews the credentials before they expire; never returns.
    pub(super) async fn keep_fresh(&self) {
        loop {
            if let Err(error) = self.load().await {
                tracing::warn!(error = %chain(&error), "cannot load the role's credentials from IMDS, trying again");
            }
            tokio::time::sleep(renewal(self.expiry(), SystemTime::now())).await;
        }
    }

    async fn load(&self) -> provider::Result {
        let credentials = self.source.provide_credentials().await?;
        *self.current.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(credentials.clone());
        Ok(credentials)
    }

    fn current(&self) -> Option<Credentials> {
        self.current.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// When the cached credentials expire, if they do.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        self.current()?.expiry()
    }

    async fn get(&self) -> provider::Result {
        let now = SystemTime::now();
        match self.current() {
            Some(credentials) if credentials.expiry().is_none_or(|expiry| now < expiry) => Ok(credentials),
            _ => self.load().await,
        }
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// The time until credentials that end at `expiry` are renewed.
fn renewal(expiry: Option<SystemTime>, now: SystemTime) -> Duration {
    let left = expiry.and_then(|expiry| expiry.duration_since(now).ok()).unwrap_or_default();
    left.saturating_sub(EARLY).clamp(RETRY, LONGEST)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Numbered {
        given: AtomicUsize,
        lifetime: Duration,
    }

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.given.fetch_add(1, Ordering::SeqCst);
            let expiry = SystemTime::now() + self.lifetime;
            future::ProvideCredentials::ready(Ok(Credentials::new(number.to_string(), "", None, Some(expiry), "test")))
        }
    }

    fn kept(lifetime: Duration) -> Kept {
        Kept::new(Numbered { given: AtomicUsize::new(0), lifetime })
    }

    #[tokio::test]
    async fn a_call_uses_the_cached_credentials() {
        let kept = kept(Duration::from_secs(60));
        for _ in 0..3 {
            assert_eq!(kept.provide_credentials().await.unwrap().access_key_id(), "0");
        }
    }

    #[tokio::test]
    async fn expired_credentials_are_not_used() {
        let kept = kept(Duration::ZERO);
        assert_eq!(kept.provide_credentials().await.unwrap().access_key_id(), "0");
        assert_eq!(kept.provide_credentials().await.unwrap().access_key_id(), "1");
    }

    #[test]
    fn renewal_begins_when_imds_must_have_new_ones() {
        let now = SystemTime::now();
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(renewal(Some(now + minutes(12)), now), minutes(7));
        assert_eq!(renewal(Some(now + minutes(360)), now), LONGEST);
        assert_eq!(renewal(Some(now + minutes(4)), now), RETRY);
        assert_eq!(renewal(Some(now - minutes(4)), now), RETRY);
        assert_eq!(renewal(None, now), RETRY);
    }
}
