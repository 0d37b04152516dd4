//! The proxy: takes a call, refuses it or forwards it to moto, waits for the kernel to follow, records it, and answers.
//!
//! A complete request is carried out even if its caller hangs up, as on AWS. Requests to S3 and its
//! objects pass in pieces, because an agent has 62 MB.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, SERVER, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::call::{Call, Caller, is_mutating};
use super::errors::{code_in, refusal, status_of};
use super::faults::{Failing, Faults, Injector};
use super::hooks::{Hooks, Passage};
use super::record::Record;
use super::request::{self, Asked};
use super::sessions::Sessions;
use super::throttle::Throttle;
use super::upstream::Upstream;
use crate::serving::{Body, Door, Lost, text, whole};
use crate::world::World;

/// More than any call needs: RunInstances with 16 KB of user data.
const LARGEST_REQUEST: usize = 1 << 20;

/// A connection without a request is closed after this long. AWS documents no limit; users saw 5 s to a minute.
const IDLE: Duration = Duration::from_secs(20);
/// How often a held call checks whether the hang has ended.
const HANG_STEP: Duration = Duration::from_millis(20);

/// Headers that belong to one connection.
const HOP_BY_HOP: [hyper::header::HeaderName; 3] = [CONNECTION, TRANSFER_ENCODING, EXPECT];

/// Where calls come in.
#[derive(Clone)]
pub enum Entrance {
    /// Plain HTTP on loopback, for callers outside the VPC.
    Loopback,
    /// TLS in the VPC: the source address identifies the instance.
    Vpc(Arc<rustls::ServerConfig>),
}

/// The proxy. Clones share everything.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    moto: Upstream,
    world: watch::Receiver<Arc<World>>,
    sessions: Sessions,
    record: Record,
    hooks: Arc<dyn Hooks>,
    injector: Mutex<Injector>,
}

/// What a proxy needs.
pub struct Parties {
    /// The connection to moto.
    pub moto: Upstream,
    /// The world that the kernel matches, to find an address's instance.
    pub world: watch::Receiver<Arc<World>>,
    /// The instance of each access key; shared with IMDS.
    pub sessions: Sessions,
    /// Where calls are recorded.
    pub record: Record,
    /// The hooks around calls.
    pub hooks: Arc<dyn Hooks>,
}

impl Proxy {
    /// A proxy without faults.
    pub fn new(parties: Parties) -> Proxy {
        let Parties { moto, world, sessions, record, hooks } = parties;
        Proxy { shared: Arc::new(Shared { moto, world, sessions, record, hooks, injector: Mutex::default() }) }
    }

    /// Serves calls on this socket until dropped.
    pub async fn serve(&self, listener: std::net::TcpListener, entrance: Entrance) -> std::io::Result<Infallible> {
        let in_vpc = matches!(entrance, Entrance::Vpc(_));
        let door = match entrance {
            Entrance::Loopback => Door::plain(listener),
            Entrance::Vpc(config) => Door::tls(listener, config),
        };
        let slow = self.clone();
        // The TCP and TLS handshakes take a round trip each.
        let door = door.with_delay(move || slow.injector().latency() * 2).with_idle_limit(IDLE);
        let proxy = self.clone();
        door.serve(move |peer: SocketAddr, request| {
            let address = in_vpc.then(|| peer.ip());
            proxy.clone().answer(address, request)
        })
        .await
    }

    /// The calls since the record was last cleared, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.record.calls()
    }

    /// The same; clears the record.
    pub fn take_calls(&self) -> Vec<Call> {
        self.shared.record.take()
    }

    /// Delays each answer until this long after its request; zero ends it.
    pub fn set_latency(&self, latency: Duration) {
        self.injector().faults.latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    }

    /// Holds calls for this long; zero ends it.
    pub fn hang(&self, time: Duration) {
        self.injector().set_hang(Instant::now() + time);
    }

    /// Throttles calls, or ends that. Buckets are full at first.
    pub fn set_throttle(&self, throttle: Option<Throttle>) {
        self.injector().set_throttle(throttle);
    }

    /// Fails the next calls of an action; a count of 0 ends it.
    pub fn set_failing(&self, failing: Failing) {
        self.injector().set_failing(failing);
    }

    /// The faults that are set.
    pub fn faults(&self) -> Faults {
        let injector = self.injector();
        Faults { hangs: injector.hangs_for(Instant::now()).is_some(), ..injector.faults.clone() }
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        *self.injector() = Injector::default();
    }

    fn injector(&self) -> MutexGuard<'_, Injector> {
        self.shared.injector.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn answer(self, address: Option<IpAddr>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
        let (time, came) = (Timestamp::now(), Instant::now());
        let (head, body) = request.into_parts();
        if is_control(head.uri.path()) {
            return Ok(text(StatusCode::NOT_FOUND, "AWS has no such path\n"));
        }
        let (asked, body) = if request::service(&head) == "s3" {
            (Asked::read(&head, b""), body.map_err(std::io::Error::other).boxed_unsync())
        } else {
            match Limited::new(body, LARGEST_REQUEST).collect().await {
                Ok(body) => {
                    let body = body.to_bytes();
                    (Asked::read(&head, &body), whole(body))
                }
                Err(_) => return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large or incomplete\n")),
            }
        };
        let request = Request::from_parts(head, body);
        let carried = tokio::spawn(async move { self.carry(address, (time, came), asked, request).await });
        carried.await.unwrap_or(Err(Lost))
    }

    async fn carry(
        &self,
        address: Option<IpAddr>,
        (time, came): (Timestamp, Instant),
        asked: Asked,
        request: Request<Body>,
    ) -> Result<Response<Body>, Lost> {
        let caller = self.caller(&asked, address);
        let Asked { service, action, parameters, .. } = asked;
        let mut call =
            Call { time, duration_ms: 0.0, service, action, caller, status: 0, error: None, request: parameters };
        self.wait_while_it_hangs().await;
        if self.shared.hooks.request(&call).await == Passage::Lost {
            self.finish(&mut call, came);
            return Err(Lost);
        }
        let zones = zones(&call, &self.shared.world.borrow());
        // Faults meet the calls that a test is about, not the dry runs before them.
        let is_met = !call.is_dry_run();
        let refused =
            is_met.then(|| self.injector().refuse(&call.service, &call.action, &zones, Instant::now())).flatten();
        let answer = match refused {
            Some(refused) => {
                let status = status_of(&call.service, &refused.code);
                call.error = Some(refused.code.clone());
                refusal(&call.service, status, &refused.code, refused.message)
            }
            None => self.forward(request, &mut call).await,
        };
        call.status = answer.status().as_u16();
        if call.succeeded() && is_mutating(&call.action) {
            self.shared.hooks.world_changed(&call).await;
        }
        let latency = self.injector().latency();
        tokio::time::sleep_until(came + latency).await;
        self.finish(&mut call, came);
        match self.shared.hooks.answer(&call).await {
            Passage::Open => Ok(answer),
            Passage::Lost => Err(Lost),
        }
    }

    /// Waits in steps, because the hang may be changed meanwhile.
    async fn wait_while_it_hangs(&self) {
        loop {
            let Some(rest) = self.injector().hangs_for(Instant::now()) else { return };
            tokio::time::sleep(rest.min(HANG_STEP)).await;
        }
    }

    /// Records the call before its answer leaves, so that a caller with an answer finds its call.
    fn finish(&self, call: &mut Call, came: Instant) {
        call.duration_ms = (came.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        self.shared.record.add(call);
    }

    fn caller(&self, asked: &Asked, address: Option<IpAddr>) -> Caller {
        let here = match address {
            Some(IpAddr::V4(address)) => self.shared.world.borrow().instance_at(address).map(|i| i.id.clone()),
            _ => None,
        };
        let by_key = || asked.access_key.as_deref().and_then(|key| self.shared.sessions.instance(key));
        match here.or_else(by_key) {
            Some(instance) => Caller::Instance(instance),
            None if asked.by_launcher => Caller::Launcher,
            None => Caller::Other,
        }
    }

    /// moto's answer, or an `Unavailable` error without one. The headers are signed and forwarded unchanged.
    async fn forward(&self, request: Request<Body>, call: &mut Call) -> Response<Body> {
        match self.ask(request, call).await {
            Ok(answer) => answer,
            Err(error) => {
                warn!(action = call.action, error = format!("{error:#}"), "moto didn't answer");
                let code = if call.service == "ec2" { "Unavailable" } else { "ServiceUnavailable" };
                call.error = Some(code.to_owned());
                refusal(&call.service, status_of(&call.service, code), code, "The lab's moto doesn't answer.")
            }
        }
    }

    async fn ask(&self, request: Request<Body>, call: &mut Call) -> anyhow::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(body);
        *request.uri_mut() = self.shared.moto.uri(path)?;
        *request.method_mut() = head.method;
        *request.headers_mut() = head.headers;
        for name in HOP_BY_HOP {
            request.headers_mut().remove(name);
        }
        let mut answer = self.shared.moto.send(request).await?;
        for name in HOP_BY_HOP.into_iter().chain([SERVER]) {
            answer.headers_mut().remove(name);
        }
        if call.service == "s3" && call.action == "GetObject" && answer.status().is_success() {
            return Ok(answer);
        }
        let answer = self.shared.moto.complete(answer).await?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            call.error = code_in(answer.body());
        }
        Ok(answer.map(whole))
    }
}

/// Whether this is a control path of moto or of the lab, which AWS doesn't have.
fn is_control(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("moto-api" | "lab"))
}

/// The zones of the instances that a call names.
fn zones(call: &Call, world: &World) -> Vec<String> {
    let parameters = call.request.as_object().into_iter().flatten();
    let named = parameters.filter(|(name, _)| name.starts_with("InstanceId")).filter_map(|(_, id)| id.as_str());
    named.filter_map(|id| Some(world.instances.iter().find(|instance| instance.id == id)?.zone.clone())).collect()
}
