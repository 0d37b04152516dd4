//! The VPC's DNS resolver. It knows the lab's names and AWS's names for private addresses.
//!
//! It answers as a recursive resolver, like AmazonProvidedDNS. All other names don't exist, so that no instance reaches
//! hosts outside the lab by name.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::Ipv4Net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tracing::debug;

use crate::imds::tree::host_name;

/// Seconds; the TTL of AWS's endpoints.
const TTL: u32 = 60;

/// The largest answer over UDP to a client without EDNS (RFC 1035, 4.2.1).
const SMALLEST_LIMIT: usize = 512;

/// How long a TCP client may take to send a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a failed receive or accept, so that the loop doesn't spin.
const PAUSE: Duration = Duration::from_millis(20);

/// The names that resolve.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    region: String,
    private: Vec<Ipv4Net>,
}

impl Zone {
    /// A zone with AWS's names for the addresses of these networks (`ip-10-0-1-10.REGION.compute.internal`).
    pub fn new(region: &str, private: Vec<Ipv4Net>) -> Zone {
        Zone { names: BTreeMap::new(), region: region.to_owned(), private }
    }

    /// Adds a name with all its addresses. `*.` at its start stands for any label.
    pub fn with(mut self, name: &str, addresses: &[Ipv4Addr]) -> Zone {
        self.names.insert(name.trim_end_matches('.').to_ascii_lowercase(), addresses.to_vec());
        self
    }

    /// The answer to a message; none if it isn't a question.
    pub fn answer(&self, message: &[u8]) -> Option<Message> {
        let asked = Message::from_vec(message).ok().filter(|asked| asked.message_type() == MessageType::Query)?;
        let mut answer = Message::new();
        answer.set_id(asked.id()).set_message_type(MessageType::Response).set_op_code(asked.op_code());
        answer.set_recursion_desired(asked.recursion_desired()).set_recursion_available(true);
        if asked.extensions().is_some() {
            answer.set_edns(Edns::new());
        }
        let code = match (asked.op_code(), asked.queries()) {
            (OpCode::Query, [query]) => {
                answer.add_query(query.clone());
                let (code, records) = self.resolve(query);
                answer.add_answers(records);
                code
            }
            (OpCode::Query, _) => ResponseCode::FormErr,
            _ => ResponseCode::NotImp,
        };
        answer.set_response_code(code);
        Some(answer)
    }

    fn resolve(&self, query: &Query) -> (ResponseCode, Vec<Record>) {
        let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let (record_type, data) = match (self.addresses(&name), self.host(&name)) {
            (Some(addresses), _) => {
                (RecordType::A, addresses.into_iter().map(|address| RData::A(A(address))).collect())
            }
            (None, Some(host)) => (RecordType::PTR, vec![RData::PTR(PTR(host))]),
            (None, None) => return (ResponseCode::NXDomain, vec![]),
        };
        let wanted =
            query.query_class() == DNSClass::IN && [record_type, RecordType::ANY].contains(&query.query_type());
        let record = |data| Record::from_rdata(query.name().clone(), TTL, data);
        (ResponseCode::NoError, if wanted { data.into_iter().map(record).collect() } else { vec![] })
    }

    fn addresses(&self, name: &str) -> Option<Vec<Ipv4Addr>> {
        let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        self.names.get(name).or_else(wildcard).cloned().or_else(|| {
            let numbers = name.split('.').next()?.strip_prefix("ip-")?;
            let address: Ipv4Addr = numbers.replace('-', ".").parse().ok()?;
            (self.is_private(address) && host_name(address, &self.region) == name).then(|| vec![address])
        })
    }

    /// The host name for a reverse name such as `4.3.2.1.in-addr.arpa`.
    fn host(&self, name: &str) -> Option<Name> {
        let reversed: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
        let [d, c, b, a] = reversed.octets();
        let address = Ipv4Addr::new(a, b, c, d);
        let host = self.is_private(address).then(|| host_name(address, &self.region))?;
        Name::from_ascii(host + ".").ok()
    }

    fn is_private(&self, address: Ipv4Addr) -> bool {
        self.private.iter().any(|network| network.contains(&address))
    }
}

/// Answers questions on these sockets until dropped.
pub async fn serve(zone: Zone, udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> std::io::Result<Infallible> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
    let zone = Arc::new(zone);
    tokio::select! {
        never = datagrams(&zone, &udp) => match never {},
        never = streams(&zone, &tcp) => match never {},
    }
}

async fn datagrams(zone: &Zone, socket: &UdpSocket) -> Infallible {
    let mut buffer = vec![0; 4096];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => {
                let answer = zone.answer(&buffer[..length]).and_then(|answer| fitted(&buffer[..length], answer));
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
            Err(error) => {
                debug!(%error, "could not receive a question");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The answer as bytes, truncated to the client's limit.
fn fitted(asked: &[u8], answer: Message) -> Option<Vec<u8>> {
    let limit = Message::from_vec(asked).map_or(SMALLEST_LIMIT, |asked| asked.max_payload().into());
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= limit { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

async fn streams(zone: &Arc<Zone>, listener: &TcpListener) -> Infallible {
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => _ = conversations.spawn(converse(zone.clone(), stream)),
                Err(error) => {
                    debug!(%error, "could not accept a DNS connection");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = conversations.join_next() => {}
        }
    }
}

/// Answers questions over TCP, each prefixed with its length (RFC 1035, 4.2.2).
async fn converse(zone: Arc<Zone>, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let length = tokio::time::timeout(PATIENCE, stream.read_u16()).await??;
        let mut question = vec![0; length.into()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut question)).await??;
        let Some(answer) = zone.answer(&question).and_then(|answer| answer.to_vec().ok()) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let api = [Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(10, 0, 0, 5)];
        let zone = Zone::new("eu-west-1", vec!["10.0.0.0/16".parse().unwrap()]);
        zone.with("ec2.eu-west-1.amazonaws.com", &api).with("*.s3.eu-west-1.amazonaws.com", &api)
    }

    fn question(name: &str, record_type: RecordType) -> Vec<u8> {
        let mut message = Message::new();
        message.set_id(4711).set_recursion_desired(true);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
        message.to_vec().unwrap()
    }

    fn ask(name: &str, record_type: RecordType) -> (ResponseCode, Vec<String>) {
        let answer = zone().answer(&question(name, record_type)).unwrap();
        assert_eq!((answer.id(), answer.recursion_available()), (4711, true));
        (answer.response_code(), answer.answers().iter().map(|record| record.data().to_string()).collect())
    }

    #[test]
    fn names_of_the_lab_and_of_the_vpcs_addresses_resolve() {
        let found = |data: &str| (ResponseCode::NoError, vec![data.to_owned()]);
        let both = (ResponseCode::NoError, vec!["10.0.0.3".to_owned(), "10.0.0.5".to_owned()]);
        assert_eq!(ask("ec2.eu-west-1.amazonaws.com.", RecordType::A), both);
        assert_eq!(ask("EC2.eu-west-1.AmazonAWS.com.", RecordType::A), both);
        assert_eq!(ask("elbow-123456789012-eu-west-1.s3.eu-west-1.amazonaws.com.", RecordType::A), both);
        assert_eq!(ask("ip-10-0-1-10.eu-west-1.compute.internal.", RecordType::A), found("10.0.1.10"));
        let host = "ip-10-0-1-10.eu-west-1.compute.internal.";
        assert_eq!(ask("10.1.0.10.in-addr.arpa.", RecordType::PTR), found(host));
    }

    #[test]
    fn a_name_without_such_a_record_has_no_data_and_other_names_do_not_exist() {
        assert_eq!(ask("ec2.eu-west-1.amazonaws.com.", RecordType::AAAA), (ResponseCode::NoError, vec![]));
        for name in [
            "example.com.",
            "ec2.us-east-1.amazonaws.com.",
            "a.ec2.eu-west-1.amazonaws.com.",
            "a.b.s3.eu-west-1.amazonaws.com.",
            "ip-10-9-1-10.eu-west-1.compute.internal.",
            "ip-10-0-1-10.us-east-1.compute.internal.",
            "ip-010-0-1-10.eu-west-1.compute.internal.",
            "compute.internal.",
        ] {
            assert_eq!(ask(name, RecordType::A), (ResponseCode::NXDomain, vec![]), "{name}");
        }
        assert_eq!(ask("10.1.9.10.in-addr.arpa.", RecordType::PTR), (ResponseCode::NXDomain, vec![]));
    }

    #[test]
    fn a_message_that_is_not_a_question_gets_no_answer() {
        assert!(zone().answer(b"hello").is_none());
        let answer = zone().answer(&question("example.com.", RecordType::A)).unwrap().to_vec().unwrap();
        assert!(zone().answer(&answer).is_none(), "two resolvers would answer each other forever");
    }

    #[tokio::test]
    async fn questions_are_answered_over_both_protocols() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (udp_address, tcp_address) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let served = tokio::spawn(serve(zone(), udp, tcp));
        let question = question("ec2.eu-west-1.amazonaws.com.", RecordType::A);

        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question, udp_address).await.unwrap();
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).await.unwrap();
        let over_udp = Message::from_vec(&buffer[..length]).unwrap();

        let mut stream = TcpStream::connect(tcp_address).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(question.len() as u16).await.unwrap();
            stream.write_all(&question).await.unwrap();
            let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(Message::from_vec(&answer).unwrap().answers(), over_udp.answers());
        }
        assert_eq!(over_udp.answers().len(), 2);
        served.abort();
    }
}
