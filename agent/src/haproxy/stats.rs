//! Reads the state of each checked target from HAProxy's statistics (HAProxy management guide, 9.1). Pure.

use std::borrow::Cow;

use serde::Serialize;
use templates::files::OPEN;
use templates::targets::Reason;

use super::csv::Records;

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
    /// It gets no new connections: it is drained, or has the weight 0.
    Draining,
    /// It is disabled.
    Maintenance,
    /// No check has ended yet.
    Unchecked,
}

/// The columns that are read, in the table's order.
struct Columns([usize; 8]);

impl Columns {
    const NAMES: [&str; 8] =
        ["pxname", "svname", "status", "uweight", "lastchg", "check_status", "check_code", "last_chk"];

    fn of(head: &[Cow<'_, str>]) -> Option<Columns> {
        let mut columns = [0; 8];
        for (column, name) in columns.iter_mut().zip(Columns::NAMES) {
            *column = head.iter().position(|there| there == name)?;
        }
        Some(Columns(columns))
    }
}

/// The targets that HAProxy checks, from the answer to `show stat`; `None` if it lacks the table.
pub(super) fn read(answer: &str) -> Option<Vec<Server>> {
    let mut records = Records(answer.strip_prefix("# ")?);
    let columns = Columns::of(&records.next()?)?;
    Some(records.filter_map(|record| server(&columns, &record)).collect())
}

fn server(columns: &Columns, record: &[Cow<'_, str>]) -> Option<Server> {
    let [group, name, status, weight, changed, check, code, last] =
        columns.0.map(|column| record.get(column).map_or("", |field| &**field));
    if matches!(name, "" | "FRONTEND" | "BACKEND") || group.ends_with(OPEN) {
        return None;
    }
    // The last check's status, while another one runs.
    let check = check.strip_prefix("* ").unwrap_or(check);
    let state = state(status, weight, check)?;
    let reason = (state == TargetState::Down).then(|| Reason::of(check, code, last));
    let changed = changed.parse().unwrap_or(0);
    Some(Server { group: group.to_owned(), name: name.to_owned(), state, changed, reason })
}

/// The state of a target that is checked. HAProxy 2.6 shows a target as up until its first check ends, and one that is
/// drained and fails its checks as down. It pauses the checks of one in maintenance.
fn state(status: &str, weight: &str, check: &str) -> Option<TargetState> {
    match status.split(' ').next()? {
        "MAINT" => Some(TargetState::Maintenance),
        _ if check.is_empty() => None,
        "DRAIN" | "NOLB" => Some(TargetState::Draining),
        "UP" | "DOWN" if weight == "0" => Some(TargetState::Draining),
        "UP" | "DOWN" if matches!(check, "INI" | "UNK") => Some(TargetState::Unchecked),
        "UP" => Some(TargetState::Up),
        "DOWN" => Some(TargetState::Down),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HEAD: &str = "# pxname,svname,status,lastchg,check_status,check_code,last_chk,uweight,-,\n\
        elbow_probe,FRONTEND,OPEN,,,,,,-,\n";

    /// HAProxy's page with these lines.
    pub fn page(lines: &[&str]) -> Vec<Server> {
        let text = lines.iter().fold(HEAD.to_owned(), |text, line| format!("{text}{line}\n"));
        read(&text).unwrap()
    }

    #[test]
    fn only_checked_targets_are_read_and_none_of_a_fail_open_backend() {
        let lines = [
            "web,FRONTEND,OPEN,,,,,,-,",
            "web,10.0.1.20:8080,UP,9,L7OK,200,,1,-,",
            "web,10.0.2.20:8080,DOWN,42,* L7STS,503,\"Service, \"\"un\"\"available\",1,-,",
            "web,BACKEND,UP,9,,,,1,-,",
            "web--all,10.0.1.20:8080,no check,9,,,,1,-,",
            "web--all,10.0.3.20:8080,MAINT,9,,,,1,-,",
            "static,disk,no check,9,,,,1,-,",
            "static,drained,DRAIN,9,,,,1,-,",
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

    /// A page as HAProxy 2.6.12 wrote it. `slow/a` and `tcp/ok` have the weight 0, and `drained` is drained and fails.
    #[test]
    fn a_real_page_is_understood() {
        use TargetState::{Down, Draining, Maintenance};
        let servers = read(include_str!("statistics-2.6.csv")).unwrap();
        let found = servers.iter().map(|server| {
            let reason = server.reason.as_ref().map(Reason::to_string);
            (format!("{}/{}", server.group, server.name), server.state, reason)
        });
        let expected = [
            ("web/127.0.0.1:1", Down, Some("L4CON")),
            ("web/127.0.0.1:2", Down, Some("L7STS:503")),
            ("web/blackhole", Down, Some("L4TOUT")),
            ("web/drained", Down, Some("L7STS:503")),
            ("web/disabled", Maintenance, None),
            ("web/drainok", Draining, None),
            ("slow/a", Draining, None),
            ("tcp/refused", Down, Some("L4CON")),
            ("tcp/ok", Draining, None),
            ("tcp/silent", Down, Some("L4TOUT")),
        ];
        let expected = expected.map(|(name, state, reason)| (name.to_owned(), state, reason.map(str::to_owned)));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_state_of_a_target_is_known() {
        for (status, weight, check, expected) in [
            ("UP", "1", "L4OK", Some(TargetState::Up)),
            ("UP 1/3", "1", "L4CON", Some(TargetState::Up)),
            ("UP 1/3", "1", "INI", Some(TargetState::Unchecked)),
            ("DOWN", "1", "INI", Some(TargetState::Unchecked)),
            ("DOWN 1/2", "1", "L4OK", Some(TargetState::Down)),
            ("DRAIN", "1", "L7OK", Some(TargetState::Draining)),
            ("NOLB", "1", "L7OKC", Some(TargetState::Draining)),
            ("UP", "0", "L4OK", Some(TargetState::Draining)),
            ("DOWN", "0", "L4CON", Some(TargetState::Draining)),
            ("MAINT", "1", "", Some(TargetState::Maintenance)),
            ("MAINT (via web/a)", "1", "L4OK", Some(TargetState::Maintenance)),
            ("no check", "1", "", None),
        ] {
            assert_eq!(state(status, weight, check), expected, "{status} {weight} {check}");
        }
    }

    #[test]
    fn a_page_without_the_table_is_an_error_and_short_lines_are_left_out() {
        for page in ["", "<html>", "# pxname,svname,status\nweb,a,UP\n"] {
            assert_eq!(read(page), None, "{page:?}");
        }
        assert_eq!(page(&["web", "web,a", "", ",,,,"]), [] as [Server; 0]);
    }
}
