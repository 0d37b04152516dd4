//! A target group as one or two backends of HAProxy: one with health checks, and `NAME--all` without, which serves
//! while too few targets are healthy. Both have the same server names, cookie, stick table and limits.

use super::quote::Quoted;
use super::{OPEN, PEERS_SECTION, fails_open, stick_table};
use crate::balancer::group::{CHECK_TIMEOUT, INTERVAL};
use crate::balancer::{Balance, Balancer, CheckProtocol, Millis, Protocol, Sticky, Target, TargetGroup, WEIGHT};

pub struct Backend<'a> {
    pub group: &'a TargetGroup,
    pub name: String,
    /// Whether this is the one without checks.
    pub is_open: bool,
    pub is_http: bool,
    pub balance: &'static str,
    /// The longest idle timeout of the listeners that forward to it. A listener's own closes its connections earlier.
    pub idle: Millis,
    /// How long an upgraded connection, such as a WebSocket, may be silent.
    pub tunnel: Millis,
    pub cookie: Option<Cookie>,
    pub table: Option<Table>,
    pub check: Option<Check>,
    /// Options of all servers.
    pub options: Vec<String>,
    pub servers: Vec<String>,
}

/// HAProxy's own cookie. Its value is a hash of the target's address: the same on all nodes and in both backends.
pub struct Cookie {
    pub name: Quoted,
    pub unused: Option<Millis>,
    pub key: Quoted,
}

/// A stick table, which remembers each key's target by address. The nodes share it.
pub struct Table {
    /// The line that defines it, in the group's first backend only.
    pub definition: Option<String>,
    pub lines: Vec<String>,
}

pub struct Check {
    pub timeout: Millis,
    pub http: Option<HttpCheck>,
}

pub struct HttpCheck {
    pub path: Quoted,
    /// By default the target's address and port.
    pub host: Option<Quoted>,
    pub status: Quoted,
}

/// As long as a WebSocket may be silent: clients send a ping more often.
const TUNNEL: Millis = Millis(3_600_000);
/// A stick table's entry outlives the client's silence for this long, if the operator says nothing else.
const REMEMBERED: Millis = Millis(3_600_000);
/// Characters of an application's cookie that are compared.
const COOKIE_LENGTH: usize = 128;

/// The backends of a group.
pub fn both<'a>(balancer: &Balancer, group: &'a TargetGroup) -> Vec<Backend<'a>> {
    let open = fails_open(group).then(|| of(balancer, group, true));
    std::iter::once(of(balancer, group, false)).chain(open).collect()
}

fn of<'a>(balancer: &Balancer, group: &'a TargetGroup, is_open: bool) -> Backend<'a> {
    let users = balancer.listeners.iter().filter(|listener| listener.forwards_to().contains(&group.name.as_str()));
    let idle = users.map(|listener| listener.idle_timeout()).max().unwrap_or(Millis(60_000));
    let targets = if is_open { group.open_targets() } else { group.targets.iter().collect() };
    let has_weights = group.targets.iter().any(|target| target.weight.is_some());
    Backend {
        group,
        name: format!("{}{}", group.name, if is_open { OPEN } else { "" }),
        is_open,
        is_http: group.protocol == Protocol::Http,
        balance: match group.balance() {
            Balance::RoundRobin => "roundrobin",
            Balance::LeastConnections => "leastconn",
            Balance::Random => "random",
            Balance::Source => "source",
        },
        idle,
        tunnel: idle.max(TUNNEL),
        cookie: cookie(balancer, group),
        table: table(group, is_open),
        check: (!is_open).then(|| check(group)),
        options: options(group, is_open),
        servers: targets.into_iter().map(|target| server(target, has_weights)).collect(),
    }
}

fn cookie(balancer: &Balancer, group: &TargetGroup) -> Option<Cookie> {
    let Some(Sticky::Cookie { name, unused }) = &group.sticky else { return None };
    let key = Quoted::text(&format!("{}/{}", balancer.name, group.name));
    Some(Cookie { name: Quoted::name(name), unused: *unused, key })
}

fn table(group: &TargetGroup, is_open: bool) -> Option<Table> {
    let of = if is_open { format!(" table {}", group.name) } else { String::new() };
    let (kind, unused, lines) = match group.sticky.as_ref()? {
        Sticky::Cookie { .. } => return None,
        Sticky::Source { unused } => ("ip".to_owned(), unused, vec![format!("stick on src{of}")]),
        Sticky::AppCookie { name, unused } => {
            let name = Quoted::name(name);
            let lines =
                vec![format!("stick match req.cook({name}){of}"), format!("stick store-response res.cook({name}){of}")];
            (format!("string len {COOKIE_LENGTH}"), unused, lines)
        }
    };
    let expire = unused.unwrap_or(REMEMBERED);
    let definition = stick_table(&kind, expire, &format!("srvkey addr peers {PEERS_SECTION}"));
    Some(Table { definition: Some(definition).filter(|_| !is_open), lines })
}

fn check(group: &TargetGroup) -> Check {
    let check = &group.health_check;
    let http = match group.check_protocol() {
        CheckProtocol::Tcp => None,
        CheckProtocol::Http | CheckProtocol::Https => Some(HttpCheck {
            path: Quoted::text(check.path.as_deref().unwrap_or("/")),
            host: check.host.as_deref().map(Quoted::format),
            status: Quoted::text(check.status.as_deref().unwrap_or("200-399")),
        }),
    };
    Check { timeout: check.timeout.unwrap_or(CHECK_TIMEOUT), http }
}

fn options(group: &TargetGroup, is_open: bool) -> Vec<String> {
    let check = &group.health_check;
    let mut options = Vec::new();
    if !is_open {
        let interval = check.interval.unwrap_or(INTERVAL);
        let (fall, rise) = (check.unhealthy.unwrap_or(3), check.healthy.unwrap_or(2));
        options.push(format!("check inter {interval} fall {fall} rise {rise}"));
        options.extend(check.port.map(|port| format!("port {port}")));
        if group.check_protocol() == CheckProtocol::Https {
            options.push("check-ssl verify none".to_owned());
        }
        options.extend(group.slow_start.map(|time| format!("slowstart {time}")));
        if group.close_on_unhealthy {
            options.push("on-marked-down shutdown-sessions".to_owned());
        }
    }
    if group.proxy_protocol {
        options.push(if is_open { "send-proxy-v2" } else { "send-proxy-v2 check-send-proxy" }.to_owned());
    }
    options.extend(group.connections_per_target.map(|number| format!("maxconn {number}")));
    options
}

fn server(target: &Target, has_weights: bool) -> String {
    let Target { address, weight, backup } = target;
    let weight = if has_weights { format!(" weight {}", weight.unwrap_or(WEIGHT)) } else { String::new() };
    format!("{address} {address}{weight}{}", if *backup { " backup" } else { "" })
}
