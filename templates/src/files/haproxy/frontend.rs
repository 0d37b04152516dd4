//! A listener as HAProxy's frontend.

use super::quote::Quoted;
use super::rules::{self, Routing};
use super::{RATE, stick_table};
use crate::balancer::{ForwardedFor, Listener, Millis, PortRange, Protocol, RateLimit, TargetGroup};

pub struct Frontend<'a> {
    pub listener: &'a Listener,
    pub ports: PortRange,
    pub is_http: bool,
    pub idle: Millis,
    pub keep_alive: Millis,
    /// Networks, with spaces between them.
    pub proxies: String,
    pub forwarded_for: ForwardedFor,
    pub rate: Option<Rate<'a>>,
    /// Names and values of headers in responses; none as the value: it is removed.
    pub headers: Vec<(Quoted, Option<Quoted>)>,
    pub routing: Routing<'a>,
}

/// The listener's table of clients, and its limit.
pub struct Rate<'a> {
    pub table: String,
    pub definition: String,
    pub limit: &'a RateLimit,
}

pub fn of<'a>(listener: &'a Listener, groups: &'a [TargetGroup]) -> Frontend<'a> {
    let idle = listener.idle_timeout();
    let proxies: Vec<String> = listener.proxy_protocol_from.iter().map(ToString::to_string).collect();
    let header = |(name, value): (&String, &String)| {
        (Quoted::name(name), Some(Quoted::format(value)).filter(|_| !value.is_empty()))
    };
    Frontend {
        listener,
        ports: listener.range(),
        is_http: listener.protocol == Protocol::Http,
        idle,
        keep_alive: listener.keep_alive.unwrap_or(idle),
        proxies: proxies.join(" "),
        forwarded_for: listener.forwarded_for,
        rate: listener.rate_limit.as_ref().map(|limit| rate(&listener.name, limit)),
        headers: listener.response_headers.iter().map(header).collect(),
        routing: rules::of(listener, groups),
    }
}

/// The nodes don't share this table. An entry changes with each request, and a node that becomes active, or a new
/// process, admits at most one more limit's requests.
fn rate<'a>(listener: &str, limit: &'a RateLimit) -> Rate<'a> {
    let definition = stick_table("ip", limit.per, &format!("store http_req_rate({})", limit.per));
    Rate { table: format!("{listener}{RATE}"), definition, limit }
}
