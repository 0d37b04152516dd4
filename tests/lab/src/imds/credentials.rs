//! The credentials of an instance's role, cached until shortly before they expire, as in IMDS.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::tree::{pretty, seconds};
use crate::api::{Sessions, Upstream};

/// The default lifetime of credentials, as on AWS.
const LIFE: Duration = Duration::from_secs(6 * 3600);

/// New credentials are issued this long before the old ones expire, or a quarter of their lifetime if that is less.
/// EC2 User Guide, "Retrieve security credentials": at least five minutes.
const AHEAD: Duration = Duration::from_secs(15 * 60);

/// Credentials from moto's STS.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: Timestamp,
}

#[derive(Debug, Clone)]
struct Kept {
    given: Given,
    asked: Timestamp,
    life: Duration,
}

/// The cached credentials of all instances.
#[derive(Debug)]
pub struct Credentials {
    moto: Upstream,
    sessions: Sessions,
    life: Mutex<Duration>,
    kept: Mutex<HashMap<(String, String), Kept>>,
}

impl Credentials {
    /// An empty cache. It records the instance of each access key in `sessions`.
    pub fn new(moto: Upstream, sessions: Sessions) -> Credentials {
        Credentials { moto, sessions, life: Mutex::new(LIFE), kept: Mutex::default() }
    }

    /// Sets the lifetime of new credentials and clears the cache.
    pub fn set_life(&self, life: Duration) {
        *lock(&self.life) = life;
        lock(&self.kept).clear();
    }

    /// The document at `iam/security-credentials/ROLE`.
    pub async fn document(&self, instance: &str, role: &str) -> Result<String> {
        let key = (instance.to_owned(), role.to_owned());
        let kept = lock(&self.kept).get(&key).filter(|kept| !kept.is_stale(Timestamp::now())).cloned();
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let kept = self.ask(instance).await?;
                self.sessions.record(&kept.given.access_key_id, instance);
                lock(&self.kept).insert(key, kept.clone());
                kept
            }
        };
        Ok(pretty(&json!({
            "Code": "Success",
            "LastUpdated": seconds(kept.asked),
            "Type": "AWS-HMAC",
            "AccessKeyId": kept.given.access_key_id,
            "SecretAccessKey": kept.given.secret_access_key,
            "Token": kept.given.token,
            "Expiration": seconds(kept.given.expiration),
        })))
    }

    async fn ask(&self, instance: &str) -> Result<Kept> {
        let (asked, life) = (Timestamp::now(), *lock(&self.life));
        let request = json!({"instance": instance, "seconds": life.as_secs()});
        let given = self.moto.post("/lab/role-credentials", &request).await?;
        let given = serde_json::from_slice(&given).with_context(|| format!("reading {instance}'s credentials"))?;
        Ok(Kept { given, asked, life })
    }
}

impl Kept {
    fn is_stale(&self, now: Timestamp) -> bool {
        let ahead = AHEAD.min(self.life / 4);
        self.given.expiration.duration_since(now) < SignedDuration::try_from(ahead).unwrap_or(SignedDuration::ZERO)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(life: u64) -> Kept {
        let asked: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let expiration = asked + SignedDuration::from_secs(life as i64);
        let text = String::new();
        let given = Given { access_key_id: text.clone(), secret_access_key: text.clone(), token: text, expiration };
        Kept { given, asked, life: Duration::from_secs(life) }
    }

    #[test]
    fn credentials_are_stale_before_they_expire() {
        let stale = |life: u64, after: i64| {
            let kept = kept(life);
            kept.is_stale(kept.asked + SignedDuration::from_secs(after))
        };
        assert!(!stale(21600, 0) && !stale(21600, 20699) && stale(21600, 20701));
        assert!(!stale(60, 44) && stale(60, 46) && stale(60, 100));
    }
}
