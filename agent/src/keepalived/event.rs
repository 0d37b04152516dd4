//! The lines that keepalived writes to its notify FIFO (keepalived.conf(5), `vrrp_notify_fifo`).

use templates::Role;

/// A VRRP instance changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The virtual IP's position in the balancer's list: instances are named `v0`, `v1` and so on.
    pub vip: usize,
    /// Its new state.
    pub state: VrrpState,
}

/// keepalived's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpState {
    /// This node was elected.
    Master,
    /// Another node was elected.
    Backup,
    /// This node can't be elected: HAProxy doesn't answer, or the node hands over.
    Fault,
    /// keepalived ended.
    Stop,
}

impl VrrpState {
    /// The role that operators see.
    pub fn role(self) -> Role {
        match self {
            VrrpState::Master => Role::Active,
            VrrpState::Backup => Role::Standby,
            VrrpState::Fault | VrrpState::Stop => Role::Fault,
        }
    }
}

impl Event {
    /// Reads a line such as `INSTANCE "v0" MASTER 200`; `None` for any other line.
    pub fn parse(line: &str) -> Option<Event> {
        let mut words = line.split_whitespace();
        if words.next()? != "INSTANCE" {
            return None;
        }
        let vip = words.next()?.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()?;
        let state = match words.next()? {
            "MASTER" => VrrpState::Master,
            "BACKUP" => VrrpState::Backup,
            "FAULT" => VrrpState::Fault,
            "STOP" | "DELETED" => VrrpState::Stop,
            _ => return None,
        };
        Some(Event { vip, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_keepalived_writes_them() {
        let event = |vip, state| Some(Event { vip, state });
        assert_eq!(Event::parse("INSTANCE \"v0\" MASTER 200"), event(0, VrrpState::Master));
        assert_eq!(Event::parse("INSTANCE \"v12\" BACKUP 197\n"), event(12, VrrpState::Backup));
        assert_eq!(Event::parse("INSTANCE \"v1\" FAULT 200"), event(1, VrrpState::Fault));
        assert_eq!(Event::parse("INSTANCE \"v1\" STOP 200"), event(1, VrrpState::Stop));
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in [
            "",
            "GROUP \"g\" MASTER 0",
            "INSTANCE \"other\" MASTER 1",
            "INSTANCE \"v0\" MASTER_RX_LOWER_PRI 200",
            "INSTANCE \"v0\"",
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
