//! One update at a time: who does it says so in a tag of the launch template, and again every few seconds, so that an
//! update which died is told from one that lives.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// From one sign of life to the next.
pub const SIGN: SignedDuration = SignedDuration::from_secs(8);
/// Without a sign for as long, an update is dead. Operators' clocks may differ by a few seconds.
const DEAD: SignedDuration = SignedDuration::from_secs(30);

/// Who updates a balancer, as the tag says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `user@host:process`
    pub who: String,
    /// When the update began.
    pub since: Timestamp,
    /// When it last gave a sign of life.
    pub seen: Timestamp,
}

/// Whose the lease is, by what can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// This update's.
    Mine,
    /// Somebody else's.
    Theirs(Lease),
    /// Nobody's, or that of whoever had it before: what this update wrote isn't read yet, or isn't there any more.
    Unseen,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.0} {:.0}", self.who, self.since, self.seen)
    }
}

impl FromStr for Lease {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let [who, since, seen] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(()) };
        let time = |text: &str| text.parse::<Timestamp>().map_err(drop);
        Ok(Lease { who: who.to_owned(), since: time(since)?, seen: time(seen)? })
    }
}

impl Lease {
    /// This process's own, from now.
    pub fn mine() -> Lease {
        let now = Timestamp::now();
        Lease { who: me(), since: now, seen: now }
    }

    /// The same with a new sign of life.
    pub fn renewed(&self) -> Lease {
        Lease { seen: Timestamp::now(), ..self.clone() }
    }

    /// Whether the update goes on, as far as can be told at `now`. `runs` tells of a process of this machine.
    pub fn is_live(&self, now: Timestamp, host: &str, runs: impl Fn(u32) -> bool) -> bool {
        let process = self.who.rsplit_once(':').and_then(|(at, process)| Some((at, process.parse().ok()?)));
        let gone = process.is_some_and(|(at, process)| at.ends_with(&format!("@{host}")) && !runs(process));
        !gone && now.duration_since(self.seen) < DEAD
    }

    /// Whose it is, if `read` is what the tag says.
    pub fn standing(&self, read: Option<Lease>) -> Standing {
        match read {
            Some(read) if read.who == self.who => Standing::Mine,
            // A sign of life from before this one began is an old answer of the API's: who took over has written since.
            // The tag tells whole seconds.
            Some(read) if read.seen.as_second() >= self.since.as_second() => Standing::Theirs(read),
            _ => Standing::Unseen,
        }
    }

    /// Whose is in the way of whoever would change a balancer whose launch template has this tag, if anybody's is.
    pub fn in_the_way(tag: Option<&str>) -> Option<Lease> {
        let lease: Lease = tag?.parse().ok()?;
        let runs = |process: u32| std::path::Path::new(&format!("/proc/{process}")).exists();
        lease.is_live(Timestamp::now(), &host(), runs).then_some(lease)
    }

    /// What whoever finds it in the way of a change of `balancer` is told.
    pub fn refusal(&self, balancer: &str) -> String {
        format!(
            "an update of {balancer} is under way, {}: wait for it, or take over with `launcher update --take-over` if \
             you know that it is dead",
            self.described()
        )
    }

    /// Whose it is, and how fresh.
    pub fn described(&self) -> String {
        let ago = Timestamp::now().duration_since(self.seen).as_secs().max(0);
        format!("by {} since {:.0}, last sign of life {ago} s ago", self.who, self.since)
    }
}

fn me() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let word =
        |text: String| text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect::<String>();
    let user = Some(word(user)).filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}:{}", host(), std::process::id())
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

    #[test]
    fn a_lease_reads_back_as_written() {
        let lease = Lease { who: "alice@laptop:12".into(), since: at(0), seen: at(8) };
        assert_eq!(lease.to_string(), "alice@laptop:12 2026-09-21T14:13:20Z 2026-09-21T14:13:28Z");
        assert_eq!(lease.to_string().parse(), Ok(lease));
        assert_eq!("alice".parse::<Lease>(), Err(()));
    }

    #[test]
    fn what_was_there_before_is_nobodys_and_who_came_later_has_it() {
        let mine = Lease { who: "alice@laptop:12".into(), since: at(100), seen: at(100) };
        assert_eq!(mine.standing(Some(mine.renewed())), Standing::Mine);
        let other = |second| Lease { who: "bob@desk:7".into(), since: at(0), seen: at(second) };
        assert_eq!(mine.standing(Some(other(60))), Standing::Unseen);
        assert_eq!(mine.standing(Some(other(101))), Standing::Theirs(other(101)));
        assert_eq!(mine.standing(None), Standing::Unseen);
    }

    #[test]
    fn an_update_without_a_sign_of_life_is_dead_and_one_of_this_machine_with_its_process() {
        let lease = Lease { who: "alice@laptop:12".into(), since: at(0), seen: at(100) };
        assert!(lease.is_live(at(120), "desk", |_| false));
        assert!(!lease.is_live(at(130), "desk", |_| true));
        assert!(lease.is_live(at(101), "laptop", |process| process == 12));
        assert!(!lease.is_live(at(101), "laptop", |_| false));
    }
}
