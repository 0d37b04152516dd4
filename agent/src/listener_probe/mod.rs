//! The listener probe: on a request in the tag `elbow:probe`, the agent asks each listener on the virtual IPs that this
//! node serves, and answers in its tags. The node's HAProxy accepts these connections, as the virtual IPs are on `lo`.
//! Their source is an address that no client has ([`SOURCE`]): they count in no client's rate limit.

mod http;
mod tcp;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use templates::balancer::{Listener, Protocol};
use templates::listener_probe::{Answer, Failure, ListenerAnswer, RequestId, SOURCE};
use templates::names::TAG_PROBE;
use templates::report::Moment;
use templates::{Balancer, Role};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::aws::imds::Imds;
use crate::host::probe;
use crate::node::state::Board;

/// Interval between two looks at the tag. An operator waits for the answer.
const EVERY: Duration = Duration::from_secs(2);
/// The shortest time between two probes. It bounds the calls that a persistent writer of the tag can cause.
const PAUSE: Duration = Duration::from_secs(5);
/// The most listeners that are asked. The tags have room for about a third of them.
const MOST: usize = 100;

/// Answers requests for ever.
pub async fn answer(imds: Imds, board: Board, balancer: watch::Receiver<Balancer>) {
    let path = format!("meta-data/tags/instance/{TAG_PROBE}");
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let asked = match imds.get(&path).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::debug!("cannot read {TAG_PROBE}: {error}");
                continue;
            }
        };
        let state = board.read();
        match next(asked.as_deref(), state.reports.probed.as_ref().map(|answer| &answer.to)) {
            Next::Rest => {}
            Next::Forget => board.change(|state| state.reports.probed = None),
            Next::Answer(id) if last.is_none_or(|last| last.elapsed() >= PAUSE) => {
                last = Some(Instant::now());
                let served = state.virtual_ips.iter().filter(|vip| vip.role == Role::Active).map(|vip| vip.address);
                let (questions, more) = questions(&balancer.borrow(), &served.collect::<Vec<_>>());
                tracing::info!(%id, listeners = questions.len(), "asking the listeners");
                let answer = ask(id, questions, more).await;
                board.change(|state| state.reports.probed = Some(answer));
            }
            Next::Answer(_) => {}
        }
    }
}

/// What to do about the tag.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Rest,
    /// The launcher has removed its request, and needs the answer no longer.
    Forget,
    Answer(RequestId),
}

/// Decides by the tag's value, and by the request that was answered last. The launcher writes only ids.
fn next(asked: Option<&str>, answered: Option<&RequestId>) -> Next {
    let Some(asked) = asked else {
        return if answered.is_some() { Next::Forget } else { Next::Rest };
    };
    match asked.trim().parse::<RequestId>() {
        Ok(id) if Some(&id) != answered => Next::Answer(id),
        _ => Next::Rest,
    }
}

/// A listener on a virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    listener: String,
    /// The virtual IP, and the first port.
    to: SocketAddrV4,
    kind: Kind,
}

/// How a listener is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By a request.
    Http,
    /// By a connection that a target takes.
    Tcp,
    /// By a connection that HAProxy accepts: it then waits for a PROXY protocol header.
    Proxied,
}

impl Question {
    fn of(virtual_ip: Ipv4Addr, listener: &Listener) -> Question {
        let kind = match listener.protocol {
            _ if listener.proxy_protocol_from.iter().any(|net| net.contains(&SOURCE)) => Kind::Proxied,
            Protocol::Http => Kind::Http,
            Protocol::Tcp => Kind::Tcp,
        };
        Question { listener: listener.name.clone(), to: SocketAddrV4::new(virtual_ip, listener.range().first), kind }
    }
}

/// The listeners to ask, and how many more there are.
fn questions(balancer: &Balancer, virtual_ips: &[Ipv4Addr]) -> (Vec<Question>, usize) {
    let on = |vip: &Ipv4Addr| {
        let vip = *vip;
        balancer.listeners.iter().map(move |listener| Question::of(vip, listener))
    };
    let mut all: Vec<Question> = virtual_ips.iter().flat_map(on).collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    (all, more)
}

/// Asks all of them at once.
async fn ask(to: RequestId, questions: Vec<Question>, more: usize) -> Answer {
    let asked = Moment::of(Timestamp::now());
    let (requests, connections): (Vec<_>, Vec<_>) =
        questions.into_iter().partition(|question| question.kind == Kind::Http);
    let answers = futures::future::join_all(requests.iter().map(|question| http::ask(question.to)));
    let (by_request, by_connection) = tokio::join!(answers, tcp::ask(&connections));
    let outcomes = requests.into_iter().zip(by_request).chain(connections.into_iter().zip(by_connection));
    let listeners = outcomes.map(|(Question { listener, to, .. }, outcome)| ListenerAnswer {
        virtual_ip: *to.ip(),
        listener,
        outcome,
    });
    Answer { to, asked, listeners: listeners.collect(), more }
}

async fn connect(to: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(SOURCE, 0).into())?;
    socket.connect(to.into()).await
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        _ if probe::unasked(error) => Failure::Unasked,
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::TimedOut => Failure::Silent,
        _ => Failure::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 255, 0, 10), Ipv4Addr::new(10, 255, 0, 11)];

    fn id(text: &str) -> RequestId {
        text.parse().unwrap()
    }

    #[test]
    fn each_request_is_answered_once_and_its_answer_ends_with_it() {
        assert_eq!(next(None, None), Next::Rest);
        assert_eq!(next(Some("1-a\n"), None), Next::Answer(id("1-a")));
        assert_eq!(next(Some("1-a"), Some(&id("1-a"))), Next::Rest);
        assert_eq!(next(Some("1-b"), Some(&id("1-a"))), Next::Answer(id("1-b")));
        assert_eq!(next(None, Some(&id("1-a"))), Next::Forget);
        assert_eq!(next(Some("not an id"), None), Next::Rest);
    }

    #[test]
    fn each_listener_is_asked_on_each_virtual_ip_at_its_first_port() {
        let head = include_str!("../../../templates/goldens/small/balancer.toml").split("[[listener]]").next().unwrap();
        let listener = |name: &str, more: &str| format!("[[listener]]\nname = \"{name}\"\ntargets = []\n{more}\n");
        let text = [
            head.to_owned(),
            listener("web", "protocol = \"http\"\nport = 80"),
            listener("db", "protocol = \"tcp\"\nports = \"5000-5009\""),
            listener("proxied", "protocol = \"http\"\nport = 81\nproxy_protocol_from = [\"127.0.0.0/8\"]"),
        ];
        let balancer = Balancer::parse(&text.concat()).unwrap();
        let (all, more) = questions(&balancer, &VIPS);
        let shown: Vec<_> = all.iter().map(|one| (one.listener.as_str(), one.to.to_string(), one.kind)).collect();
        let on = |vip: &str| {
            let all = [("web", 80, Kind::Http), ("db", 5000, Kind::Tcp), ("proxied", 81, Kind::Proxied)];
            all.map(|(name, port, kind)| (name, format!("{vip}:{port}"), kind))
        };
        assert_eq!((shown, more), ([on("10.255.0.10"), on("10.255.0.11")].concat(), 0));
        let many: Vec<Ipv4Addr> = (0..40).map(|last| Ipv4Addr::new(10, 255, 1, last)).collect();
        let (all, more) = questions(&balancer, &many);
        assert_eq!((all.len(), more), (MOST, 20));
        assert_eq!(questions(&balancer, &[]), (vec![], 0));
    }

    #[tokio::test]
    async fn every_listener_has_an_answer_also_a_closed_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(open) = listener.local_addr().unwrap() else { panic!("it is IPv4") };
        let closed = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
        let question = |listener: &str, to, kind| Question { listener: listener.to_owned(), to, kind };
        let questions = vec![
            question("proxied", open, Kind::Proxied),
            question("web", closed, Kind::Http),
            question("db", closed, Kind::Tcp),
        ];
        let answer = ask(id("1-a"), questions, 3).await;
        let shown: Vec<String> = answer.listeners.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1/web=refused", "127.0.0.1/proxied=connected", "127.0.0.1/db=refused"]);
        assert_eq!((answer.to, answer.more), (id("1-a"), 3));
    }
}
