//! Reads the state of each checked target from HAProxy's statistics (HAProxy management guide, 9.1).

use std::borrow::Cow;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;
use templates::paths::STATS_PORT;
use templates::targets::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::csv::Records;
use super::probe::LIMIT;

const REQUEST: &[u8] = b"GET /stats;csv HTTP/1.0\r\nHost: localhost\r\n\r\n";
/// The most bytes read: 20,000 targets have fewer.
const LARGEST: u64 = 16 << 20;
/// The end of the name of a backend that serves a group's targets without checks, when all are down.
const FAIL_OPEN: &str = "--all";

/// A target that HAProxy checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The target group: HAProxy's backend.
    pub group: String,
    pub name: String,
    pub state: TargetState,
    /// Seconds since its state changed, as HAProxy counts them.
    pub changed: u64,
    /// What the last check found, if the target is down.
    pub reason: Option<Reason>,
}

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// It passes its checks.
    Up,
    /// It doesn't.
    Down,
    /// It passes its checks, and gets no new connections.
    Draining,
    /// It is disabled.
    Maintenance,
    /// No check has ended yet.
    Unchecked,
}

/// The targets that HAProxy checks now.
pub async fn servers() -> io::Result<Vec<Server>> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, STATS_PORT))).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = Vec::new();
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // A page of 1,000 targets takes some milliseconds, in which this thread may have to move routes.
    let read = tokio::task::spawn_blocking(move || read(&String::from_utf8_lossy(&answer))).await?;
    read.ok_or_else(|| io::Error::other("HAProxy's statistics have no table of targets"))
}

/// The columns that are read, in the table's order.
struct Columns([usize; 7]);

impl Columns {
    const NAMES: [&str; 7] = ["pxname", "svname", "status", "lastchg", "check_status", "check_code", "last_chk"];

    fn of(head: &[Cow<'_, str>]) -> Option<Columns> {
        let mut columns = [0; 7];
        for (column, name) in columns.iter_mut().zip(Columns::NAMES) {
            *column = head.iter().position(|there| there == name)?;
        }
        Some(Columns(columns))
    }
}

fn read(answer: &str) -> Option<Vec<Server>> {
    let start = answer.find("# pxname,")? + "# ".len();
    let mut records = Records(&answer[start..]);
    let columns = Columns::of(&records.next()?)?;
    Some(records.filter_map(|record| server(&columns, &record)).collect())
}

fn server(columns: &Columns, record: &[Cow<'_, str>]) -> Option<Server> {
    let [group, name, status, changed, check, code, last] =
        columns.0.map(|column| record.get(column).map_or("", |field| &**field));
    if matches!(name, "" | "FRONTEND" | "BACKEND") || group.ends_with(FAIL_OPEN) {
        return None;
    }
    // The last check's status, while another one runs.
    let check = check.strip_prefix("* ").unwrap_or(check);
    let state = state(status, check)?;
    let reason = (state == TargetState::Down).then(|| Reason::of(check, code, last));
    let changed = changed.parse().unwrap_or(0);
    Some(Server { group: group.to_owned(), name: name.to_owned(), state, changed, reason })
}

/// The state of a target that is checked. HAProxy 2.6 shows a target as up until its first check ends. It pauses the
/// checks of one in maintenance.
fn state(status: &str, check: &str) -> Option<TargetState> {
    match status.split(' ').next()? {
        "MAINT" => Some(TargetState::Maintenance),
        _ if check.is_empty() => None,
        _ if matches!(check, "INI" | "UNK") => Some(TargetState::Unchecked),
        "UP" => Some(TargetState::Up),
        "DOWN" => Some(TargetState::Down),
        "DRAIN" | "NOLB" => Some(TargetState::Draining),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n\
        # pxname,svname,qcur,status,lastchg,check_status,check_code,last_chk,\n\
        elbow_probe,FRONTEND,,OPEN,,,,,\n";

    /// HAProxy's page with these lines.
    pub fn page(lines: &[&str]) -> Vec<Server> {
        let text = lines.iter().fold(HEAD.to_owned(), |text, line| format!("{text}{line}\n"));
        read(&text).unwrap()
    }

    #[test]
    fn only_checked_targets_are_read_and_none_of_a_fail_open_backend() {
        let lines = [
            "web,FRONTEND,,OPEN,,,,,",
            "web,10.0.1.20:8080,0,UP,9,L7OK,200,,",
            "web,10.0.2.20:8080,0,DOWN,42,* L7STS,503,\"HTTP status, \"\"503\"\"\",",
            "web,BACKEND,0,UP,9,,,,",
            "web--all,10.0.1.20:8080,0,no check,9,,,,",
            "web--all,10.0.3.20:8080,0,MAINT,9,,,,",
            "static,disk,0,no check,9,,,,",
        ];
        let target = |name: &str, state, changed, reason: Option<&str>| Server {
            group: "web".to_owned(),
            name: name.to_owned(),
            state,
            changed,
            reason: reason.map(|reason| reason.parse().unwrap()),
        };
        let expected = [
            target("10.0.1.20:8080", TargetState::Up, 9, None),
            target("10.0.2.20:8080", TargetState::Down, 42, Some("L7STS:503")),
        ];
        assert_eq!(page(&lines), expected);
    }

    #[test]
    fn every_state_of_a_target_is_known() {
        for (status, check, expected) in [
            ("UP", "L4OK", Some(TargetState::Up)),
            ("UP 1/3", "L4CON", Some(TargetState::Up)),
            ("UP", "INI", Some(TargetState::Unchecked)),
            ("DOWN", "INI", Some(TargetState::Unchecked)),
            ("DOWN 1/2", "L4OK", Some(TargetState::Down)),
            ("DRAIN", "L7OK", Some(TargetState::Draining)),
            ("NOLB", "L7OKC", Some(TargetState::Draining)),
            ("MAINT", "", Some(TargetState::Maintenance)),
            ("MAINT (via web/a)", "L4OK", Some(TargetState::Maintenance)),
            ("no check", "", None),
        ] {
            assert_eq!(state(status, check), expected, "{status} {check}");
        }
    }

    #[test]
    fn a_page_without_the_table_is_an_error_and_short_lines_are_left_out() {
        assert_eq!(read("HTTP/1.0 503 Service Unavailable\r\n\r\n"), None);
        assert_eq!(read("# pxname,svname,status\nweb,a,UP\n"), None, "columns are missing");
        assert_eq!(page(&["web", "web,a", "", ",,,,"]), []);
    }
}
