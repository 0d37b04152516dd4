//! Tests of the proxy, with a stand-in for moto that counts the requests that reach it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

use super::*;
use crate::serving::testing::{Caller as Client, loopback, text_of};
use crate::serving::{Door, text};
use crate::tls::Authority;
use crate::world::World;

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIAOPERATOR/20260102/eu-west-1/ec2/aws4_request, SignedHeaders=host, \
                      Signature=00";

/// A proxy on loopback, with its inputs and the stand-in's count.
struct Rig {
    proxy: Proxy,
    address: SocketAddr,
    sessions: Sessions,
    world: watch::Sender<Arc<World>>,
    reached: Arc<AtomicUsize>,
}

impl Rig {
    async fn with(hooks: impl Hooks, moto_takes: Duration) -> Rig {
        let reached = Arc::new(AtomicUsize::new(0));
        let (listener, moto) = loopback();
        let count = reached.clone();
        tokio::spawn(Door::plain(listener).serve(move |_, request: Request<hyper::body::Incoming>| {
            let count = count.clone();
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(moto_takes).await;
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let seen = format!("{:?} {}", head.headers["host"], String::from_utf8_lossy(&body));
                match seen.contains("Action=Refused") {
                    true => Ok(text(StatusCode::BAD_REQUEST, "<E><Error><Code>InvalidThing</Code></Error></E>")),
                    false => Ok(text(StatusCode::OK, seen)),
                }
            }
        }));
        let (world, seen) = watch::channel(Arc::new(World::default()));
        let sessions = Sessions::default();
        let moto = Upstream::new(&format!("http://{moto}"));
        let hooks = Arc::new(hooks);
        let parties = Parties { moto, world: seen, sessions: sessions.clone(), record: Record::in_memory(), hooks };
        let proxy = Proxy::new(parties);
        let (listener, address) = loopback();
        let served = proxy.clone();
        tokio::spawn(async move { served.serve(listener, Entrance::Loopback).await });
        Rig { proxy, address, sessions, world, reached }
    }

    async fn new() -> Rig {
        Rig::with(NoHooks, Duration::ZERO).await
    }

    async fn client(&self) -> Client {
        Client::from("127.0.0.1", self.address).await
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

fn call(action: &str) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", "ec2.eu-west-1.amazonaws.com")
        .header("authorization", SIGNED)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(format!("Action={action}&Version=2016-11-15&RouteTableId=rtb-1")))
        .unwrap()
}

#[tokio::test]
async fn a_call_reaches_moto_unchanged_and_is_recorded() {
    let rig = Rig::new().await;
    let mut client = rig.client().await;
    let answer = client.send(call("ReplaceRoute")).await.unwrap();
    let body = "Action=ReplaceRoute&Version=2016-11-15&RouteTableId=rtb-1";
    assert_eq!(text_of(&answer), format!("\"ec2.eu-west-1.amazonaws.com\" {body}"));
    let mut by_launcher = call("Refused");
    by_launcher.headers_mut().insert("user-agent", "aws-sdk-rust/1 app/elbow-launcher".parse().unwrap());
    assert_eq!(client.send(by_launcher).await.unwrap().status(), 400);

    let calls = rig.proxy.take_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].service.as_str(), calls[0].action.as_str(), calls[0].status), ("ec2", "ReplaceRoute", 200));
    assert_eq!((&calls[0].caller, calls[0].error.as_deref()), (&Caller::Other, None));
    assert_eq!(calls[0].parameter("RouteTableId"), Some("rtb-1"));
    assert_eq!((&calls[1].caller, calls[1].error.as_deref()), (&Caller::Launcher, Some("InvalidThing")));
    assert_eq!(rig.proxy.calls(), []);
}

#[tokio::test]
async fn latency_counts_from_the_request_and_includes_motos_time() {
    let (moto, latency) = (Duration::from_millis(300), Duration::from_millis(400));
    let rig = Rig::with(NoHooks, moto).await;
    let mut client = rig.client().await;
    client.send(call("DescribeVpcs")).await.unwrap();
    rig.proxy.set_latency(latency);
    let start = Instant::now();
    client.send(call("DescribeVpcs")).await.unwrap();
    let took = start.elapsed();
    assert!(took >= latency && took < latency + moto, "{took:?}");
    let recorded = Duration::from_secs_f64(rig.proxy.calls()[1].duration_ms / 1e3);
    assert!(recorded >= latency && recorded <= took, "{recorded:?}");

    let start = Instant::now();
    rig.client().await.send(call("DescribeVpcs")).await.unwrap();
    assert!(start.elapsed() >= latency * 3, "a new connection costs twice the latency before");
}

#[tokio::test]
async fn two_hundred_calls_at_once_take_one_latency() {
    let rig = Rig::new().await;
    let clients = join_all((0..200).map(|_| rig.client())).await;
    rig.proxy.set_latency(Duration::from_millis(300));
    let start = Instant::now();
    let calls = clients.into_iter().map(|mut client| async move { client.send(call("ReplaceRoute")).await });
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().status() == 200));
    // Connections accepted after the latency was set wait two latencies more.
    assert!(start.elapsed() < Duration::from_millis(5000), "{:?}", start.elapsed());
    assert_eq!(rig.proxy.calls().len(), 200);
}

#[tokio::test]
async fn a_throttled_call_never_reaches_moto() {
    let rig = Rig::new().await;
    rig.proxy.set_throttle(Some(Throttle { burst: 3.0, refill: 0.0 }));
    let mut client = rig.client().await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(client.send(call("ReplaceRoute")).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503]);
    assert_eq!(rig.reached(), 3);
    assert_eq!(rig.proxy.calls()[4].error.as_deref(), Some("RequestLimitExceeded"));
    rig.proxy.clear_faults();
    assert_eq!(client.send(call("ReplaceRoute")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_failed_call_has_an_error_in_the_services_format() {
    let rig = Rig::new().await;
    let failing = Failing { action: "ReplaceRoute".into(), code: "UnauthorizedOperation".into(), left: 1, zone: None };
    rig.proxy.set_failing(failing);
    let mut client = rig.client().await;
    let answer = client.send(call("ReplaceRoute")).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(errors::code_in(answer.body()).as_deref(), Some("UnauthorizedOperation"));
    assert_eq!(client.send(call("ReplaceRoute")).await.unwrap().status(), 200);
    assert_eq!(rig.reached(), 1);
}

/// Records changes, and holds each until it is released.
#[derive(Default)]
struct Watcher {
    seen: Arc<Mutex<Vec<String>>>,
    release: Arc<Notify>,
}

impl Hooks for Watcher {
    fn world_changed<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, ()> {
        async move {
            self.seen.lock().unwrap().push(call.action.clone());
            self.release.notified().await;
        }
        .boxed()
    }
}

#[tokio::test]
async fn an_answer_waits_until_the_world_has_followed() {
    let watcher = Watcher::default();
    let (seen, release) = (watcher.seen.clone(), watcher.release.clone());
    let rig = Rig::with(watcher, Duration::ZERO).await;
    let mut client = rig.client().await;
    client.send(call("DescribeVpcs")).await.unwrap();
    client.send(call("RefusedChange")).await.unwrap();
    assert!(seen.lock().unwrap().is_empty(), "neither changed anything");

    let mut changing = Box::pin(client.send(call("ReplaceRoute")));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut changing).await.is_err());
    assert_eq!(*seen.lock().unwrap(), ["ReplaceRoute"]);
    release.notify_one();
    assert_eq!(changing.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_call_is_carried_out_even_if_its_caller_hangs_up() {
    let rig = Rig::with(NoHooks, Duration::from_millis(100)).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let body = "Action=ReplaceRoute";
    let head =
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 19\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while rig.reached() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let recorded = async {
        while rig.proxy.calls().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), recorded).await.expect("the call is recorded");
    assert_eq!(rig.proxy.calls()[0].status, 200);
}

/// Loses the requests of one action and the answers of another.
struct Loss;

impl Hooks for Loss {
    fn request<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async { if call.action == "CreateRole" { Passage::Lost } else { Passage::Open } }.boxed()
    }

    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Passage> {
        async { if call.action == "CreateRoute" { Passage::Lost } else { Passage::Open } }.boxed()
    }
}

#[tokio::test]
async fn a_lost_request_is_not_carried_out_and_a_call_with_a_lost_answer_is() {
    let rig = Rig::with(Loss, Duration::ZERO).await;
    assert!(rig.client().await.send(call("CreateRole")).await.is_err());
    assert_eq!(rig.reached(), 0);
    assert!(rig.client().await.send(call("CreateRoute")).await.is_err());
    assert_eq!(rig.reached(), 1);
    let statuses: Vec<u16> = rig.proxy.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [0, 200]);
}

#[tokio::test]
async fn an_instance_is_known_by_its_credentials_outside_the_vpc() {
    let rig = Rig::new().await;
    rig.sessions.record("AKIAOPERATOR", "i-0123");
    rig.client().await.send(call("DescribeVpcs")).await.unwrap();
    assert_eq!(rig.proxy.calls()[0].caller, Caller::Instance("i-0123".into()));
}

#[tokio::test]
async fn an_instance_is_known_by_its_address_inside_the_vpc() {
    let rig = Rig::new().await;
    rig.world.send(Arc::new(crate::imds::server::testing::world())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let (listener, address) = loopback();
    let (served, names) = (rig.proxy.clone(), authority.server(["ec2.eu-west-1.amazonaws.com"]).unwrap());
    tokio::spawn(async move { served.serve(listener, Entrance::Vpc(names)).await });
    let tls = crate::tls::testing::trusting(&authority);
    for source in ["127.0.0.5:0", "127.0.0.6:0"] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(source.parse().unwrap()).unwrap();
        let name = ServerName::try_from("ec2.eu-west-1.amazonaws.com").unwrap();
        let stream = tls.connect(name, socket.connect(address).await.unwrap()).await.unwrap();
        assert_eq!(Client::on(stream).await.send(call("DescribeVpcs")).await.unwrap().status(), 200);
    }
    let callers: Vec<Caller> = rig.proxy.calls().into_iter().map(|call| call.caller).collect();
    assert_eq!(callers, [Caller::Instance("i-1".into()), Caller::Other]);
}

#[tokio::test]
async fn motos_controls_are_out_of_reach() {
    let rig = Rig::new().await;
    let mut client = rig.client().await;
    for path in ["/moto-api/reset", "/lab/world", "/lab"] {
        assert_eq!(client.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(rig.reached(), 0);
}

fn s3_call(method: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("/agent/0a1b")
        .header("host", "elbow-1.s3.eu-west-1.amazonaws.com")
        .header("authorization", SIGNED.replace("/ec2/", "/s3/"))
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn an_object_larger_than_any_form_reaches_moto_with_its_host() {
    let rig = Rig::new().await;
    let object = vec![b'x'; 3 << 20];
    let answer = rig.client().await.send(s3_call("PUT", object.clone())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let (host, body) = text_of(&answer).split_once(' ').unwrap();
    assert_eq!(host, "\"elbow-1.s3.eu-west-1.amazonaws.com\"");
    assert!(body.as_bytes() == object);
    let call = &rig.proxy.calls()[0];
    assert_eq!((call.service.as_str(), call.action.as_str(), call.status), ("s3", "PutObject", 200));
    assert_eq!((call.parameter("Bucket"), call.parameter("Key")), (Some("elbow-1"), Some("agent/0a1b")));
}

#[tokio::test]
async fn an_object_leaves_in_pieces_while_moto_still_sends_it() {
    let (listener, moto) = loopback();
    let release = Arc::new(Notify::new());
    let held = release.clone();
    tokio::spawn(Door::plain(listener).serve(move |_, _| {
        let held = held.clone();
        let pieces = futures::stream::unfold(0, move |sent| {
            let held = held.clone();
            async move {
                if sent == 1 {
                    held.notified().await;
                }
                let piece = Frame::data(Bytes::from_static(b"piece"));
                (sent < 2).then_some((Ok::<_, std::io::Error>(piece), sent + 1))
            }
        });
        async move { Ok(Response::new(StreamBody::new(pieces).boxed_unsync())) }
    }));
    let (_world, world) = watch::channel(Arc::new(World::default()));
    let moto = Upstream::new(&format!("http://{moto}"));
    let parties =
        Parties { moto, world, sessions: Sessions::default(), record: Record::in_memory(), hooks: Arc::new(NoHooks) };
    let (listener, address) = loopback();
    let proxy = Proxy::new(parties);
    let served = proxy.clone();
    tokio::spawn(async move { served.serve(listener, Entrance::Loopback).await });

    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut answer = sender.send_request(s3_call("GET", vec![])).await.unwrap();
    let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "piece");
    assert_eq!(proxy.calls()[0].action, "GetObject");
    release.notify_one();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "piece");
}

#[tokio::test]
async fn calls_fail_as_unavailable_while_moto_does_not_answer() {
    let (listener, gone) = loopback();
    drop(listener);
    let (_world, world) = watch::channel(Arc::new(World::default()));
    let moto = Upstream::new(&format!("http://{gone}"));
    let parties =
        Parties { moto, world, sessions: Sessions::default(), record: Record::in_memory(), hooks: Arc::new(NoHooks) };
    let (listener, address) = loopback();
    let proxy = Proxy::new(parties);
    tokio::spawn(async move { proxy.serve(listener, Entrance::Loopback).await });
    let answer = Client::from("127.0.0.1", address).await.send(call("DescribeVpcs")).await.unwrap();
    assert_eq!(
        (answer.status(), errors::code_in(answer.body()).as_deref()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("Unavailable"))
    );
}
