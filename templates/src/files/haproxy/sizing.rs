//! How many connections HAProxy accepts, from the node's memory. HAProxy itself would accept half of the limit of open
//! files, whatever the memory.

use crate::balancer::{Bytes, HaproxySettings};

/// For the kernel, the agent, keepalived and rsyslog; at most half of the memory.
const OTHERS_MB: u32 = 512;
/// A connection's memory at HAProxy's default buffer: its manual counts 20,000 unencrypted connections in 1 GB.
const CONNECTION: u32 = 1024 * 1024 / 20;
/// A connection has two of systemd's limit of 524,288 open files.
const MOST: u32 = 250_000;
/// HAProxy's default buffer, in bytes. A connection has two.
const BUFFER: u32 = 16 * 1024;
/// Of a buffer, kept free for headers that HAProxy adds (`tune.maxrewrite`).
const REWRITE: u32 = 1024;
/// More connections, for the probe and the stats page.
const PROBE: u32 = 100;

/// Numbers for haproxy.cfg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizing {
    /// Why `listeners` is what it is, in a line.
    pub reason: String,
    /// Connections of all listeners.
    pub listeners: u32,
    /// Connections of one listener.
    pub each: u32,
    pub probe: u32,
    /// Of all listeners and the probe.
    pub total: u32,
    /// `tune.bufsize`, if not HAProxy's default.
    pub buffer: Option<u32>,
}

pub fn of(settings: &HaproxySettings, memory_mb: u32) -> Sizing {
    let Bytes(headers) = settings.max_request_headers();
    let buffer = (headers + REWRITE).max(BUFFER);
    let connection = CONNECTION + 2 * (buffer - BUFFER);
    let for_haproxy_mb = memory_mb.saturating_sub(OTHERS_MB).max(memory_mb / 2);
    let fit = u32::try_from(u64::from(for_haproxy_mb) * 1024 * 1024 / u64::from(connection)).unwrap_or(u32::MAX);
    // Round, so that a few MB more or less make the same file.
    let fit = (fit / 1000 * 1000).clamp(1000, MOST);
    let (listeners, reason) = match settings.max_connections {
        Some(number) => (number, "As [haproxy] max_connections says.".to_owned()),
        None => {
            let each_kb = connection.div_ceil(1024);
            (fit, format!("{for_haproxy_mb} of {memory_mb} MB of memory, at {each_kb} kB for a connection."))
        }
    };
    Sizing {
        reason,
        listeners,
        each: (listeners / 2).max(1),
        probe: PROBE,
        total: listeners + PROBE,
        buffer: (buffer != BUFFER).then_some(buffer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_by_memory_and_by_the_size_of_headers() {
        let plain = HaproxySettings::default();
        let listeners = |memory| of(&plain, memory).listeners;
        assert_eq!([512, 1024, 2048, 8192, 65_536].map(listeners), [5000, 10_000, 30_000, 153_000, 250_000]);
        let big = HaproxySettings { max_request_headers: Some(Bytes(64 * 1024)), ..plain.clone() };
        let sizing = of(&big, 2048);
        assert_eq!((sizing.buffer, sizing.listeners), (Some(66_560), 10_000));
        let named = HaproxySettings { max_connections: Some(700), ..plain };
        assert_eq!((of(&named, 2048).listeners, of(&named, 2048).each, of(&named, 2048).total), (700, 350, 800));
    }
}
