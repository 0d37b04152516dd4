//! HAProxy's servers: those of a configuration, and their state in a running process. Decides what a reload carries
//! over, and which servers get no more requests. Pure.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use templates::files::OPEN;

/// Columns of a row that the state file gets. The later ones (TLS, the check's address and port) would override a new
/// configuration; HAProxy takes them from there if they are absent.
const COLUMNS: usize = 20;

/// A server of a configuration, with an IPv4 address. Others, such as names, are left to HAProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server<'a> {
    backend: &'a str,
    name: &'a str,
    address: Ipv4Addr,
    /// 0: the client's.
    port: u16,
    /// Whether HAProxy checks its health.
    is_checked: bool,
    /// Whether its connections end when it is down or in maintenance.
    shuts: bool,
}

/// A server's state in a running process: a line of `show servers state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub backend: &'a str,
    pub name: &'a str,
    address: Ipv4Addr,
    port: u16,
    /// 0: stopped, 1: starting, 2: running, 3: stopping.
    operational: u8,
    /// Bits; 0: neither drained nor in maintenance.
    pub admin: u32,
    /// As an operator may have changed it.
    weight: u16,
    line: &'a str,
}

/// A state to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// `BACKEND/NAME`.
    pub server: String,
    /// `ready`, `drain` (no requests but those of bound clients) or `maint` (none).
    pub state: &'static str,
}

/// The servers of haproxy.cfg.
pub(super) fn configured(config: &str) -> Vec<Server<'_>> {
    let mut servers = Vec::new();
    let mut section: Option<&str> = None;
    let mut defaults: Vec<&str> = Vec::new();
    for line in config.lines() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        match words.as_slice() {
            ["backend" | "listen", name, ..] => (section, defaults) = (Some(*name), Vec::new()),
            ["frontend" | "peers" | "resolvers" | "userlist" | "cache" | "mailers", ..] => section = None,
            ["default-server", options @ ..] => defaults.extend(options),
            ["server", name, address, options @ ..] => {
                let options = [defaults.as_slice(), options].concat();
                servers.extend(section.and_then(|backend| server(backend, name, address, &options)));
            }
            _ => {}
        }
    }
    servers
}

fn server<'a>(backend: &'a str, name: &'a str, address: &str, options: &[&str]) -> Option<Server<'a>> {
    let (address, port) = address.split_once(':').unwrap_or((address, "0"));
    let has = |option: &str| options.contains(&option);
    Some(Server {
        backend,
        name,
        address: address.parse().ok()?,
        port: port.parse().ok()?,
        is_checked: has("check") && !has("no-check"),
        shuts: has("on-marked-down"),
    })
}

/// The rows of the answer to `show servers state`; `None` if its columns have another version than 1.
pub(super) fn rows(answer: &str) -> Option<Vec<Row<'_>>> {
    let mut lines = answer.lines();
    (lines.next()?.trim() == "1").then(|| lines.filter_map(row).collect())
}

/// Columns: be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight …, the port
/// is the 19th.
fn row(line: &str) -> Option<Row<'_>> {
    let columns: Vec<&str> = line.split(' ').collect();
    Some(Row {
        backend: columns.get(1)?,
        name: columns.get(3)?,
        address: columns.get(4)?.parse().ok()?,
        operational: columns.get(5)?.parse().ok()?,
        admin: columns.get(6)?.parse().ok()?,
        weight: columns.get(7)?.parse().ok()?,
        port: columns.get(18)?.parse().ok()?,
        line,
    })
}

/// The state file for a new process with the servers `after`, from the old one's `rows`. A server's row is kept if its
/// name and address are the same.
///
/// HAProxy 2.6 starts a new server as up (`init-state` is for 3.1). With the operational state 0 it starts as down, and
/// its first passed checks bring it up, as many as after a failure: src/server_state.c (`srv_state_srv_update`) then
/// sets the check's health to 0, whatever the row says, and a 0 in the check's own state leaves the check on.
pub(super) fn state_file(rows: &[Row<'_>], after: &[Server<'_>]) -> String {
    let known: HashMap<_, _> = rows.iter().map(|row| (row.key(), row)).collect();
    let line = |server: &Server<'_>| match known.get(&server.key()) {
        // Without checks, nothing would bring it up.
        Some(row) if row.operational == 0 && !server.is_checked => None,
        Some(row) => Some(row.line.split(' ').take(COLUMNS).collect::<Vec<_>>().join(" ")),
        None => server.is_checked.then(|| {
            let Server { backend, name, address, port, .. } = server;
            // The weight is for a configured weight of 1. With another one, HAProxy keeps the configured weight.
            format!("0 {backend} 0 {name} {address} 0 0 1 1 0 1 0 0 0 0 0 0 - {port} -")
        }),
    };
    let lines = after.iter().filter_map(line).map(|line| line + "\n");
    std::iter::once("1\n".to_owned()).chain(lines).collect()
}

/// What keeps requests of kept-alive connections, which the old process serves, from targets of `before` that `after`
/// lacks. A target stays in use if no other one of its group in the old process could take its requests.
pub(super) fn removals(rows: &[Row<'_>], before: &[Server<'_>], after: &[Server<'_>]) -> Vec<Order> {
    let known: HashMap<_, _> = before.iter().map(|server| (server.key(), server)).collect();
    let kept: HashSet<_> = after.iter().map(Server::key).collect();
    let stays = |row: &Row<'_>| kept.contains(&row.key());
    let covered: HashSet<&str> = rows.iter().filter(|row| stays(row) && row.serves()).map(|row| row.backend).collect();
    let order = |row: &Row<'_>| {
        let server = known.get(&row.key())?;
        let is_removed = !stays(row) && row.admin == 0 && covered.contains(row.group());
        // Maintenance would end the connections of a server that shuts.
        let state = if server.shuts { "drain" } else { "maint" };
        is_removed.then(|| Order { server: row.server(), state })
    };
    rows.iter().filter_map(order).collect()
}

/// A server is the same if these are the same.
type Key<'a> = (&'a str, &'a str, Ipv4Addr, u16);

impl<'a> Server<'a> {
    fn key(&self) -> Key<'a> {
        (self.backend, self.name, self.address, self.port)
    }
}

impl<'a> Row<'a> {
    fn key(&self) -> Key<'a> {
        (self.backend, self.name, self.address, self.port)
    }

    /// The name for an order.
    pub(super) fn server(&self) -> String {
        format!("{}/{}", self.backend, self.name)
    }

    /// Its target group.
    fn group(&self) -> &'a str {
        self.backend.strip_suffix(OPEN).unwrap_or(self.backend)
    }

    /// Whether an operator keeps new clients from it: by a drain, by maintenance or by a weight of 0.
    pub(super) fn is_drained(&self) -> bool {
        self.admin != 0 || self.weight == 0
    }

    fn serves(&self) -> bool {
        matches!(self.operational, 1 | 2) && !self.is_drained()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What HAProxy 2.6.12 answers. Operators drained 10.0.1.21 and gave 10.0.1.22 the weight 0; 10.0.1.23 is down.
    pub const ANSWER: &str = "\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
7 web 1 10.0.1.20:80 10.0.1.20 2 0 1 1 1 15 3 4 6 0 0 0 - 80 - 0 8081 - - 0
7 web 2 10.0.1.21:80 10.0.1.21 2 8 1 1 1 15 3 4 6 0 0 0 - 80 - 0 8081 - - 0
7 web 3 10.0.1.22:80 10.0.1.22 2 0 0 1 1 15 3 4 6 0 0 0 - 80 - 0 8081 - - 0
7 web 4 10.0.1.23:80 10.0.1.23 0 0 1 1 9 8 2 0 6 0 0 0 - 80 - 0 8081 - - 0
8 web--all 1 10.0.1.20:80 10.0.1.20 2 0 1 1 1 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
8 web--all 2 10.0.1.21:80 10.0.1.21 2 0 1 1 1 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
8 web--all 3 10.0.1.22:80 10.0.1.22 2 0 1 1 1 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
8 web--all 4 10.0.1.23:80 10.0.1.23 2 0 1 1 1 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
9 db 1 10.0.1.30 10.0.1.30 2 0 1 1 1 6 3 4 6 0 0 0 - 0 - 0 0 - - 0
";

    fn web(hosts: &[u8]) -> String {
        let servers: Vec<String> =
            hosts.iter().map(|host| format!("    server 10.0.1.{host}:80 10.0.1.{host}:80\n")).collect();
        let servers = servers.concat();
        format!("backend web\n    default-server check inter 2s\n{servers}\nbackend web--all\n{servers}")
    }

    fn file(config: &str) -> Vec<String> {
        state_file(&rows(ANSWER).unwrap(), &configured(config)).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_kept_server_keeps_its_state_but_not_the_port_of_its_check() {
        let said = file(&web(&[21, 23]));
        assert_eq!(said[0], "1");
        assert_eq!(said[1], "7 web 2 10.0.1.21:80 10.0.1.21 2 8 1 1 1 15 3 4 6 0 0 0 - 80 -");
        assert_eq!(said[2], "7 web 4 10.0.1.23:80 10.0.1.23 0 0 1 1 9 8 2 0 6 0 0 0 - 80 -");
        assert_eq!(said[3], "8 web--all 2 10.0.1.21:80 10.0.1.21 2 0 1 1 1 1 0 2 0 0 0 0 - 80 -");
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn a_new_server_waits_for_its_checks_if_it_has_any() {
        assert_eq!(file(&web(&[24])), ["1", "0 web 0 10.0.1.24:80 10.0.1.24 0 0 1 1 0 1 0 0 0 0 0 0 - 80 -"]);
    }

    #[test]
    fn a_server_with_another_address_is_new() {
        let moved = "backend db\n    server 10.0.1.30 10.0.1.31 check\n";
        assert_eq!(file(moved), ["1", "0 db 0 10.0.1.30 10.0.1.31 0 0 1 1 0 1 0 0 0 0 0 0 - 0 -"]);
        assert_eq!(file("backend db\n    server 10.0.1.30 10.0.1.30:80\n"), ["1"]);
    }

    #[test]
    fn a_server_that_was_down_and_has_no_check_any_more_starts_anew() {
        assert_eq!(file("backend web\n    server 10.0.1.23:80 10.0.1.23:80 # check\n"), ["1"]);
        assert_eq!(file("backend web\n    server 10.0.1.21:80 10.0.1.21:80\n").len(), 2);
    }

    #[test]
    fn servers_by_name_and_those_of_other_sections_are_left_to_haproxy() {
        let config = "listen own\n  default-server check\n  server a db.example.com:80\n\
                      \x20 server b 10.0.1.9:80 no-check\nresolvers dns\n  server 10.0.1.30 10.0.1.30\n";
        assert_eq!(file(config), ["1"]);
    }

    #[test]
    fn another_version_of_the_columns_is_not_read() {
        assert_eq!(rows(&ANSWER.replacen('1', "2", 1)), None);
        assert_eq!(rows(""), None);
        assert_eq!(rows("1\n"), Some(vec![]));
    }

    fn removed(before: &str, after: &[u8]) -> Vec<String> {
        let orders = removals(&rows(ANSWER).unwrap(), &configured(before), &configured(&web(after)));
        orders.into_iter().map(|order| format!("{} {}", order.server, order.state)).collect()
    }

    #[test]
    fn a_removed_target_gets_no_requests_of_kept_connections_in_either_backend() {
        // The group `db` is removed as a whole: its connections have no other target.
        let before = web(&[20, 21, 22, 23]) + "backend db\n    server 10.0.1.30 10.0.1.30\n";
        assert_eq!(
            removed(&before, &[20]),
            [
                "web/10.0.1.22:80 maint",
                "web/10.0.1.23:80 maint",
                "web--all/10.0.1.21:80 maint",
                "web--all/10.0.1.22:80 maint",
                "web--all/10.0.1.23:80 maint"
            ]
        );
    }

    #[test]
    fn a_target_that_no_other_can_stand_in_for_stays_in_use() {
        assert_eq!(removed(&web(&[20, 21, 22, 23]), &[21, 22, 23, 24]), Vec::<String>::new());
    }

    #[test]
    fn a_target_whose_connections_would_end_is_drained() {
        let before = web(&[20, 21, 22, 23]).replacen("inter 2s", "inter 2s on-marked-down shutdown-sessions", 1);
        let said = removed(&before, &[20, 21, 23]);
        assert_eq!(said, ["web/10.0.1.22:80 drain", "web--all/10.0.1.22:80 maint"]);
    }

    #[test]
    fn a_server_that_the_configuration_has_without_an_address_is_not_removed() {
        let before = web(&[20, 21, 23]) + "backend web\n    server 10.0.1.22:80 target.example.com:80\n";
        assert_eq!(removed(&before, &[20, 21, 23]), Vec::<String>::new());
    }
}
