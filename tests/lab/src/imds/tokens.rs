//! Session tokens: each is good for the address that asked for it, for as long as that asked.
//!
//! EC2 User Guide, "How Instance Metadata Service Version 2 works": one second to six hours.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use rand::RngCore;
use tokio::time::Instant;

/// How long a token may live, in seconds.
pub const LONGEST: u32 = 21600;

/// The tokens that are out.
#[derive(Debug, Default)]
pub struct Tokens {
    out: HashMap<String, (IpAddr, Instant)>,
}

impl Tokens {
    /// A new token for this address. None if it can't live that long.
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

    /// Whether this token is good for that address now.
    pub fn allows(&self, token: &str, from: IpAddr, now: Instant) -> bool {
        self.out.get(token).is_some_and(|(to, ends)| *to == from && *ends > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_address_and_its_time() {
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
        assert_eq!(tokens.out.len(), 1, "ended tokens are forgotten");
    }

    #[test]
    fn a_token_lives_a_second_to_six_hours() {
        let mut tokens = Tokens::default();
        let mut issue = |seconds| tokens.issue([10, 0, 1, 10].into(), seconds, Instant::now()).is_some();
        assert_eq!([0, 1, LONGEST, LONGEST + 1].map(&mut issue), [false, true, true, false]);
    }
}
