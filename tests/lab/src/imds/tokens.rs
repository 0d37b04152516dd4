//! Session tokens. Each is valid for the address that requested it and for the requested time.
//!
//! EC2 User Guide, "How Instance Metadata Service Version 2 works": one second to six hours.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use rand::RngCore;
use tokio::time::Instant;

/// The longest lifetime of a token, in seconds.
pub const LONGEST: u32 = 21600;

/// The issued tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    out: HashMap<String, (IpAddr, Instant)>,
}

impl Tokens {
    /// Issues a token for this address; none if the lifetime is out of range.
    pub fn issue(&mut self, to: IpAddr, seconds: u32, now: Instant) -> Option<String> {
        if !(1..=LONGEST).contains(&seconds) {
            return None;
        }
        self.out.retain(|_, (_, ends)| *ends > now);
        let mut random = [0; 42];
        rand::rng().fill_bytes(&mut random);
        let token = URL_SAFE.encode(random);
        self.out.insert(token.clone(), (to, now + Duration::from_secs(seconds.into())));
        Some(token)
    }

    /// Whether this token is valid for this address now.
    pub fn allows(&self, token: &str, from: IpAddr, now: Instant) -> bool {
        self.out.get(token).is_some_and(|(to, ends)| *to == from && *ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_for_its_address_and_its_time() {
        let (mine, theirs) = (IpAddr::from([10, 0, 1, 10]), IpAddr::from([10, 0, 2, 10]));
        let now = Instant::now();
        let mut tokens = Tokens::default();
        let token = tokens.issue(mine, 10, now).unwrap();
        assert!(tokens.allows(&token, mine, now + Duration::from_secs(9)));
        assert!(!tokens.allows(&token, mine, now + Duration::from_secs(10)));
        assert!(!tokens.allows(&token, theirs, now));
        assert!(!tokens.allows("", mine, now));
        let other = tokens.issue(mine, 10, now + Duration::from_secs(20)).unwrap();
        assert_ne!(token, other);
        assert_eq!(tokens.out.len(), 1, "expired tokens are removed");
    }

    #[test]
    fn a_token_lives_a_second_to_six_hours() {
        let mut tokens = Tokens::default();
        let mut issue = |seconds| tokens.issue([10, 0, 1, 10].into(), seconds, Instant::now()).is_some();
        assert_eq!([0, 1, LONGEST, LONGEST + 1].map(&mut issue), [false, true, true, false]);
    }
}
