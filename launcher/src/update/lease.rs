//! One update at a time: who does it says so in a tag of the launch template, and again every few seconds, so that an
//! update which died is told from one that lives.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// From one sign of life to the next.
pub const SIGN: Duration = Duration::from_secs(6);
/// Without a sign for as long, an update is dead. Operators' clocks may differ by a few seconds.
pub const DEAD: Duration = Duration::from_secs(30);

/// Who updates a balancer, as the tag says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// `user@host:process`, for people: in two containers it may be the same.
    pub who: String,
    /// What tells it from all others; none was written by earlier launchers.
    pub mark: Option<Mark>,
    /// When the update began.
    pub since: Timestamp,
    /// When it last gave a sign of life.
    pub seen: Timestamp,
}

/// Which process's it is, among all that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where the process's number means this process: [`Mark::here`].
    pub place: String,
    /// Nobody else's.
    pub nonce: String,
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
        write!(f, "{}", self.who)?;
        if let Some(Mark { place, nonce }) = &self.mark {
            write!(f, "/{place}/{nonce}")?;
        }
        write!(f, " {:.0} {:.0}", self.since, self.seen)
    }
}

impl FromStr for Lease {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let [who, since, seen] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(()) };
        let time = |text: &str| text.parse::<Timestamp>().map_err(drop);
        let (who, mark) = match who.split('/').collect::<Vec<_>>()[..] {
            [who, place, nonce] => (who, Some(Mark { place: place.to_owned(), nonce: nonce.to_owned() })),
            _ => (who, None),
        };
        Ok(Lease { who: who.to_owned(), mark, since: time(since)?, seen: time(seen)? })
    }
}

impl Mark {
    /// What processes have in common to which the same numbers mean the same processes, and which see each other: the
    /// kernel's boot, the PID namespace, the user (`/proc` may be mounted with `hidepid`). A host's name says nothing
    /// of the kind. None where `/proc` doesn't tell.
    fn here() -> Option<String> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let user = std::fs::metadata("/proc/self").ok()?.uid();
        let digest = Sha256::digest(format!("{} {} {user}", boot.trim(), namespace.display()));
        Some(hex::encode(&digest[..4]))
    }
}

impl Lease {
    /// This process's own, from now.
    pub fn mine() -> Lease {
        let now = Timestamp::now();
        let nonce = format!("{:08x}", rand::random::<u32>());
        let place = Mark::here().unwrap_or_else(|| "-".to_owned());
        Lease { who: me(), mark: Some(Mark { place, nonce }), since: now, seen: now }
    }

    /// The same with a new sign of life.
    pub fn renewed(&self) -> Lease {
        Lease { seen: Timestamp::now(), ..self.clone() }
    }

    /// Whether the update goes on, as far as can be told at `now`, `here`. `runs` tells of a process of this place.
    pub fn is_live(&self, now: Timestamp, here: Option<&str>, runs: impl Fn(u32) -> bool) -> bool {
        let near = self.mark.as_ref().is_some_and(|mark| Some(mark.place.as_str()) == here);
        let process = self.who.rsplit_once(':').and_then(|(_, process)| process.parse().ok()).filter(|_| near);
        let gone = process.is_some_and(|process| !runs(process));
        !gone && now.duration_since(self.seen) < SignedDuration::from_secs(DEAD.as_secs() as i64)
    }

    /// Whose it is, if `read` is what the tag says.
    pub fn standing(&self, read: Option<Lease>) -> Standing {
        match read {
            Some(read) if (&read.who, &read.mark) == (&self.who, &self.mark) => Standing::Mine,
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
        lease.is_live(Timestamp::now(), Mark::here().as_deref(), runs).then_some(lease)
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
    format!("{user}@{}:{}", word(host()), std::process::id())
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

    fn lease(who: &str, mark: Option<(&str, &str)>, since: i64, seen: i64) -> Lease {
        let mark = mark.map(|(place, nonce)| Mark { place: place.to_owned(), nonce: nonce.to_owned() });
        Lease { who: who.to_owned(), mark, since: at(since), seen: at(seen) }
    }

    #[test]
    fn a_lease_reads_back_as_written_and_so_does_an_earlier_launchers() {
        let marked = lease("alice@laptop:12", Some(("0a1b2c3d", "4e5f6a7b")), 0, 8);
        assert_eq!(marked.to_string(), "alice@laptop:12/0a1b2c3d/4e5f6a7b 2026-09-21T14:13:20Z 2026-09-21T14:13:28Z");
        assert_eq!(marked.to_string().parse(), Ok(marked));
        let earlier = lease("alice@laptop:12", None, 0, 8);
        assert_eq!("alice@laptop:12 2026-09-21T14:13:20Z 2026-09-21T14:13:28Z".parse(), Ok(earlier));
        assert_eq!("alice".parse::<Lease>(), Err(()));
        let mine = Lease::mine().renewed();
        assert_eq!(mine.to_string().parse::<Lease>().unwrap().to_string(), mine.to_string());
    }

    #[test]
    fn what_was_there_before_is_nobodys_and_who_came_later_has_it() {
        let mine = lease("alice@laptop:12", Some(("p", "n")), 100, 100);
        assert_eq!(mine.standing(Some(mine.renewed())), Standing::Mine);
        let other = |second| lease("bob@desk:7", None, 0, second);
        assert_eq!(mine.standing(Some(other(60))), Standing::Unseen);
        assert_eq!(mine.standing(Some(other(101))), Standing::Theirs(other(101)));
        assert_eq!(mine.standing(None), Standing::Unseen);
    }

    #[test]
    fn the_first_process_of_another_container_of_the_same_name_is_somebody_else() {
        let mine = lease("root@runner:1", Some(("p", "n")), 100, 100);
        let other = lease("root@runner:1", Some(("q", "m")), 100, 101);
        assert_eq!(mine.standing(Some(other.clone())), Standing::Theirs(other));
        let (one, two) = (Lease::mine(), Lease::mine());
        assert_ne!(one.mark, two.mark);
        assert!(matches!(one.standing(Some(two)), Standing::Theirs(_)));
    }

    #[test]
    fn an_update_without_a_sign_of_life_is_dead_and_one_of_this_place_with_its_process() {
        let lease = lease("alice@laptop:12", Some(("here", "n")), 0, 100);
        assert!(lease.is_live(at(120), Some("elsewhere"), |_| false), "its process can't be seen from here");
        assert!(lease.is_live(at(120), None, |_| false));
        assert!(!lease.is_live(at(130), Some("here"), |_| true));
        assert!(lease.is_live(at(101), Some("here"), |process| process == 12));
        assert!(!lease.is_live(at(101), Some("here"), |_| false));
        assert!(Lease { mark: None, ..lease }.is_live(at(101), Some("here"), |_| false), "an earlier launcher's");
    }

    #[test]
    fn processes_of_one_place_are_told_by_their_numbers() {
        let mine = Lease::mine();
        let place = mine.mark.clone().unwrap().place;
        assert_eq!(Mark::here(), Some(place), "the same at every look");
        assert!(Lease::in_the_way(Some(&mine.to_string())).is_some(), "this process runs");
    }
}
