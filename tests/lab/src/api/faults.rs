//! Faults of API calls: latency, hangs, throttling and failures.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::call::is_mutating;
use super::errors::throttling_code;
use super::throttle::{Bucket, Throttle};

/// The next calls of one action that will fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    pub action: String,
    /// The error code of the answer.
    pub code: String,
    /// How many more calls fail.
    pub left: u32,
    /// Fail only calls that name an instance in this zone, or no instance.
    pub zone: Option<String>,
}

impl Failing {
    /// Whether it applies to a call of `action` on instances in `zones`.
    fn befalls(&self, action: &str, zones: &[String]) -> bool {
        self.action == action && self.zone.as_ref().is_none_or(|zone| zones.is_empty() || zones.contains(zone))
    }
}

/// The faults that are set, as `lab status` shows them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// From a request's arrival to its answer, in milliseconds.
    pub latency_ms: u64,
    /// Whether calls are held now.
    pub hangs: bool,
    /// The bucket of each action, if calls are throttled.
    pub throttle: Option<Throttle>,
    /// Calls that will fail.
    pub failing: Vec<Failing>,
}

/// The faults and their state.
#[derive(Debug, Default)]
pub(super) struct Injector {
    pub faults: Faults,
    /// When held calls continue.
    hang: Option<Instant>,
    buckets: HashMap<(String, String), Bucket>,
}

/// The error for a call that doesn't reach moto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub code: String,
    pub message: &'static str,
}

impl Injector {
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.faults.latency_ms)
    }

    /// Holds calls until then.
    pub fn set_hang(&mut self, until: Instant) {
        self.hang = Some(until);
    }

    /// How much longer calls are held.
    pub fn hangs_for(&self, now: Instant) -> Option<Duration> {
        self.hang.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// Sets the throttle; all buckets are full again.
    pub fn set_throttle(&mut self, throttle: Option<Throttle>) {
        self.faults.throttle = throttle;
        self.buckets.clear();
    }

    /// Replaces the failure of the same action and code; a count of 0 ends it.
    pub fn set_failing(&mut self, failing: Failing) {
        self.faults.failing.retain(|f| (&f.action, &f.code) != (&failing.action, &failing.code));
        if failing.left > 0 {
            self.faults.failing.push(failing);
        }
    }

    /// The error for a call on instances in `zones`, if one applies. Consumes a failure or a token.
    pub fn refuse(&mut self, service: &str, action: &str, zones: &[String], now: Instant) -> Option<Refused> {
        if let Some(failing) = self.faults.failing.iter_mut().find(|f| f.befalls(action, zones)) {
            failing.left -= 1;
            let code = failing.code.clone();
            self.faults.failing.retain(|f| f.left > 0);
            let message = match code.as_str() {
                // As EC2 writes it, so that callers find the encoded reason.
                "UnauthorizedOperation" => {
                    "You are not authorized to perform this operation. Encoded authorization failure message: bGFiIGZhaWw"
                }
                _ => "This call was failed by `lab fail`.",
            };
            return Some(Refused { code, message });
        }
        let throttle = self.faults.throttle?;
        let throttle = if is_mutating(action) { throttle } else { throttle.for_reading() };
        let key = (service.to_owned(), action.to_owned());
        let bucket = self.buckets.entry(key).or_insert_with(|| Bucket::new(throttle, now));
        if bucket.take(now) {
            return None;
        }
        let message = if service == "ec2" { "Request limit exceeded." } else { "Rate exceeded" };
        Some(Refused { code: throttling_code(service).to_owned(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(injector: &mut Injector, service: &str, action: &str, count: usize) -> Vec<Option<String>> {
        let now = Instant::now();
        (0..count).map(|_| injector.refuse(service, action, &[], now).map(|refused| refused.code)).collect()
    }

    #[test]
    fn a_failing_action_fails_count_times_and_other_actions_succeed() {
        let mut injector = Injector::default();
        let failing = Failing { action: "CreateRoute".into(), code: "InternalError".into(), left: 2, zone: None };
        injector.set_failing(failing);
        assert_eq!(codes(&mut injector, "ec2", "ReplaceRoute", 1), [None]);
        let error = Some("InternalError".to_owned());
        assert_eq!(codes(&mut injector, "ec2", "CreateRoute", 3), [error.clone(), error, None]);
        assert_eq!(injector.faults.failing, []);
    }

    #[test]
    fn while_a_zone_is_disrupted_only_calls_that_name_instances_of_other_zones_succeed() {
        let mut injector = Injector::default();
        let (action, code) = ("DescribeInstances".to_owned(), "InternalError".to_owned());
        injector.set_failing(Failing { action, code, left: 9, zone: Some("eu-west-1a".into()) });
        let mut fails = |zones: &[&str]| {
            let zones: Vec<String> = zones.iter().map(|zone| zone.to_string()).collect();
            injector.refuse("ec2", "DescribeInstances", &zones, Instant::now()).is_some()
        };
        assert!(fails(&[]) && fails(&["eu-west-1a"]) && fails(&["eu-west-1b", "eu-west-1a"]));
        assert!(!fails(&["eu-west-1b"]));
    }

    #[test]
    fn each_action_has_a_bucket_of_its_own() {
        let mut injector = Injector::default();
        injector.set_throttle(Some(Throttle { burst: 1.0, refill: 0.0 }));
        let limit = Some("RequestLimitExceeded".to_owned());
        assert_eq!(codes(&mut injector, "ec2", "ReplaceRoute", 2), [None, limit.clone()]);
        assert_eq!(codes(&mut injector, "ec2", "CreateRoute", 2), [None, limit.clone()]);
        assert_eq!(codes(&mut injector, "ec2", "DescribeInstances", 3), [None, None, limit]);
        assert_eq!(codes(&mut injector, "iam", "CreateRole", 2), [None, Some("Throttling".to_owned())]);
        injector.set_throttle(None);
        assert_eq!(codes(&mut injector, "ec2", "ReplaceRoute", 2), [None, None]);
    }

    #[test]
    fn calls_hang_until_the_hang_ends() {
        let (mut injector, now) = (Injector::default(), Instant::now());
        assert_eq!(injector.hangs_for(now), None);
        injector.set_hang(now + Duration::from_secs(2));
        assert_eq!(injector.hangs_for(now + Duration::from_secs(1)), Some(Duration::from_secs(1)));
        assert_eq!(injector.hangs_for(now + Duration::from_secs(2)), None);
    }

    #[test]
    fn a_count_of_zero_ends_a_failure() {
        let mut injector = Injector::default();
        for left in [5, 0] {
            injector.set_failing(Failing {
                action: "CreateRoute".into(),
                code: "InternalError".into(),
                left,
                zone: None,
            });
        }
        assert_eq!(codes(&mut injector, "ec2", "CreateRoute", 1), [None]);
    }
}
