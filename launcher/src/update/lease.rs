//! The lease: a tag of the launch template that admits one update at a time. An update renews it every few seconds, so that
//! a dead update can be recognized.

pub mod keeper;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Between two renewals.
pub const SIGN: Duration = Duration::from_secs(6);
/// Without a renewal for this long, an update is dead. Operators' clocks may differ by a few seconds.
pub const DEAD: Duration = Duration::from_secs(30);

/// The lease of one update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `user@host`, for messages.
    pub who: String,
    /// Identifies this update.
    pub nonce: String,
    /// When the update began.
    pub since: Timestamp,
    /// When the lease was last renewed.
    pub seen: Timestamp,
}

/// Who holds the lease, by what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// This update.
    Mine,
    /// Another update.
    Theirs(Lease),
    /// No update, or an earlier one: this update's write isn't visible yet, or was deleted.
    Unseen,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:.0} {:.0}", self.who, self.nonce, self.since, self.seen)
    }
}

impl FromStr for Lease {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let [who, nonce, since, seen] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(()) };
        let time = |text: &str| text.parse::<Timestamp>().map_err(drop);
        Ok(Lease { who: who.to_owned(), nonce: nonce.to_owned(), since: time(since)?, seen: time(seen)? })
    }
}

impl Lease {
    /// A new lease for this process.
    pub fn mine() -> Lease {
        let now = Timestamp::now();
        Lease { who: me(), nonce: format!("{:08x}", rand::random::<u32>()), since: now, seen: now }
    }

    /// The lease, renewed now.
    pub fn renewed(&self) -> Lease {
        Lease { seen: Timestamp::now(), ..self.clone() }
    }

    /// Whether the update still runs at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen) < SignedDuration::from_secs(DEAD.as_secs() as i64)
    }

    /// Who holds the lease, if `read` is the tag's value.
    pub fn standing(&self, read: Option<Lease>) -> Standing {
        match read {
            Some(read) if read.nonce == self.nonce => Standing::Mine,
            // A renewal from before this lease began is an old answer: an update that took over has written since. Times in
            // the tag are whole seconds.
            Some(read) if read.seen.as_second() >= self.since.as_second() => Standing::Theirs(read),
            _ => Standing::Unseen,
        }
    }

    /// The live lease in the launch template's tag, if any: it blocks changes of the balancer.
    pub fn in_the_way(tag: Option<&str>) -> Option<Lease> {
        let lease: Lease = tag?.parse().ok()?;
        lease.is_live(Timestamp::now()).then_some(lease)
    }

    /// Refuses a change of `balancer` that this lease blocks.
    pub fn refusal(&self, balancer: &str) -> String {
        format!(
            "an update of {balancer} is under way, {}: wait for it; if it has died, try again {} s after its last sign of \
             life, or take over at once with `launcher update --take-over`",
            self.described(),
            DEAD.as_secs()
        )
    }

    /// Who holds it since when, and its age.
    pub fn described(&self) -> String {
        let ago = Timestamp::now().duration_since(self.seen).as_secs().max(0);
        format!("by {} since {:.0}, last sign of life {ago} s ago", self.who, self.since)
    }
}

fn me() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let word =
        |text: String| text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect::<String>();
    let user = Some(word(user)).filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{}", word(host()))
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn lease(nonce: &str, since: i64, seen: i64) -> Lease {
        Lease { who: "alice@laptop".to_owned(), nonce: nonce.to_owned(), since: at(since), seen: at(seen) }
    }

    #[test]
    fn a_lease_reads_back_as_written_and_other_text_is_refused() {
        let lease = lease("4e5f6a7b", 0, 8);
        assert_eq!(lease.to_string(), "alice@laptop 4e5f6a7b 2026-09-21T14:13:20Z 2026-09-21T14:13:28Z");
        assert_eq!(lease.to_string().parse(), Ok(lease));
        assert_eq!("alice".parse::<Lease>(), Err(()));
        let mine = Lease::mine().renewed();
        assert_eq!(mine.to_string().parse::<Lease>().unwrap().to_string(), mine.to_string());
    }

    #[test]
    fn an_earlier_lease_is_an_old_answer_and_a_later_one_is_another_updates() {
        let mine = lease("1", 100, 100);
        assert_eq!(mine.standing(Some(mine.renewed())), Standing::Mine);
        let other = |second| lease("2", 0, second);
        assert_eq!(mine.standing(Some(other(60))), Standing::Unseen);
        assert_eq!(mine.standing(Some(other(101))), Standing::Theirs(other(101)));
        assert_eq!(mine.standing(None), Standing::Unseen);
        assert!(matches!(Lease::mine().standing(Some(Lease::mine())), Standing::Theirs(_)));
    }

    #[test]
    fn an_update_without_a_renewal_is_dead() {
        assert!(lease("1", 0, 100).is_live(at(129)));
        assert!(!lease("1", 0, 100).is_live(at(130)));
        assert!(Lease::in_the_way(Some(&Lease::mine().to_string())).is_some());
        assert_eq!(Lease::in_the_way(Some(&lease("1", 0, 8).to_string())), None);
    }
}
