//! The HTTP server of the metadata service: checks tokens and answers from the instance's tree.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::credentials::Credentials;
use super::path::{self, Asked};
use super::tokens::Tokens;
use super::tree::{Leaf, Lookup, Tree};
use crate::api::{Sessions, Upstream};
use crate::serving::{Body, Door, answer, text};
use crate::world::World;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// The metadata service. Clones share everything.
#[derive(Clone)]
pub struct Imds {
    shared: Arc<Shared>,
}

struct Shared {
    world: watch::Receiver<Arc<World>>,
    credentials: Credentials,
    tokens: Mutex<Tokens>,
    overrides: Mutex<HashMap<String, BTreeMap<String, String>>>,
}

impl Imds {
    /// A service for the instances of this world. It records the instance of each access key in `sessions`.
    pub fn new(world: watch::Receiver<Arc<World>>, moto: Upstream, sessions: Sessions) -> Imds {
        let credentials = Credentials::new(moto, sessions);
        let (tokens, overrides) = (Mutex::default(), Mutex::default());
        Imds { shared: Arc::new(Shared { world, credentials, tokens, overrides }) }
    }

    /// Serves on this socket until dropped.
    pub async fn serve(&self, listener: std::net::TcpListener) -> std::io::Result<Infallible> {
        let imds = self.clone();
        Door::plain(listener)
            .serve(move |peer: SocketAddr, request| {
                let imds = imds.clone();
                async move {
                    let mut answer = imds.answer(peer.ip(), request).await;
                    answer.headers_mut().insert(SERVER, HeaderValue::from_static("EC2ws"));
                    Ok(answer)
                }
            })
            .await
    }

    /// Overrides an instance's answer at a path such as `spot/instance-action`. Without a value, ends the override.
    pub fn set(&self, instance: &str, path: &str, value: Option<String>) {
        let mut overrides = lock(&self.shared.overrides);
        let of_instance = overrides.entry(instance.to_owned()).or_default();
        match value {
            Some(value) => of_instance.insert(path::named(path), value),
            None => of_instance.remove(&path::named(path)),
        };
    }

    /// Sets the lifetime of new credentials.
    pub fn set_credentials_life(&self, life: Duration) {
        self.shared.credentials.set_life(life);
    }

    async fn answer(&self, from: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let asked = path::read(request.uri().path());
        match (request.method(), &asked) {
            (&Method::PUT, Asked::Token) => self.token(from, &request),
            (&Method::GET | &Method::HEAD, Asked::Token) => refusal(StatusCode::METHOD_NOT_ALLOWED),
            (&Method::GET | &Method::HEAD, _) if !self.is_allowed(from, &request) => refusal(StatusCode::UNAUTHORIZED),
            (&Method::GET | &Method::HEAD, Asked::Versions) => text(StatusCode::OK, path::VERSIONS.join("\n")),
            (&Method::GET | &Method::HEAD, Asked::Place(place)) => self.tell(from, place).await,
            (&Method::GET | &Method::HEAD, Asked::Nothing) => refusal(StatusCode::NOT_FOUND),
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn token(&self, from: IpAddr, request: &Request<Incoming>) -> Response<Body> {
        // Open proxies and firewalls add this header, so such a request isn't the instance's own.
        if request.headers().contains_key("x-forwarded-for") {
            return refusal(StatusCode::FORBIDDEN);
        }
        let seconds = request.headers().get(TTL).and_then(|ttl| ttl.to_str().ok()?.parse().ok());
        let issued = seconds.and_then(|s| Some((s, lock(&self.shared.tokens).issue(from, s, Instant::now())?)));
        let Some((seconds, token)) = issued else { return refusal(StatusCode::BAD_REQUEST) };
        let mut answer = text(StatusCode::OK, token);
        answer.headers_mut().insert(TTL, HeaderValue::from(seconds));
        answer
    }

    fn is_allowed(&self, from: IpAddr, request: &Request<Incoming>) -> bool {
        let token = request.headers().get(TOKEN).and_then(|token| token.to_str().ok());
        token.is_some_and(|token| lock(&self.shared.tokens).allows(token, from, Instant::now()))
    }

    async fn tell(&self, from: IpAddr, place: &str) -> Response<Body> {
        let world = self.shared.world.borrow().clone();
        let instance = match from {
            IpAddr::V4(from) => world.instance_at(from),
            IpAddr::V6(_) => None,
        };
        let Some(instance) = instance else { return refusal(StatusCode::NOT_FOUND) };
        let mut tree = Tree::of(&world, instance);
        for (path, value) in lock(&self.shared.overrides).get(&instance.id).into_iter().flatten() {
            tree.put(path, value);
        }
        match tree.find(place) {
            Lookup::Nothing => refusal(StatusCode::NOT_FOUND),
            Lookup::Folder(names) => text(StatusCode::OK, names),
            Lookup::Leaf(Leaf::Bytes(bytes)) if place == "user-data" => {
                answer(StatusCode::OK, "application/octet-stream", bytes.clone())
            }
            Lookup::Leaf(Leaf::Bytes(bytes)) => answer(StatusCode::OK, "text/plain", bytes.clone()),
            Lookup::Leaf(Leaf::Credentials(role)) => match self.shared.credentials.document(&instance.id, role).await {
                Ok(document) => text(StatusCode::OK, document),
                Err(error) => {
                    warn!(instance = instance.id, error = format!("{error:#}"), "could not get a role's credentials");
                    refusal(StatusCode::INTERNAL_SERVER_ERROR)
                }
            },
        }
    }
}

fn refusal(status: StatusCode) -> Response<Body> {
    let title = status.to_string();
    answer(
        status,
        "text/html",
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A world with an instance on loopback.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Instance `i-1` at 127.0.0.5, with tags, a role and user-data.
    pub fn world() -> World {
        let world = r##"{"generation":1,"region":"eu-west-1","account":"123456789012",
            "vpcs":[{"id":"vpc-1","cidrs":["10.0.0.0/16","10.1.0.0/16"]}],
            "subnets":[{"id":"subnet-a","vpc":"vpc-1","cidr":"10.0.1.0/24","zone":"eu-west-1a","zone_id":"euw1-az3"}],
            "route_tables":[],
            "security_groups":[{"id":"sg-1","vpc":"vpc-1","name":"elbow-web"}],
            "interfaces":[{"id":"eni-1","subnet":"subnet-a","vpc":"vpc-1","address":"127.0.0.5","mac":"02:00:00:00:00:01",
              "source_dest_check":false,"groups":["sg-1"],"instance":"i-1","status":"in-use"}],
            "instances":[{"id":"i-1","state":"running","launch_index":0,"type":"t3.small","image":"ami-1","subnet":"subnet-a",
              "vpc":"vpc-1","zone":"eu-west-1a","address":"127.0.0.5","interface":"eni-1","mac":"02:00:00:00:00:01",
              "role":"elbow-web","profile_arn":"arn:aws:iam::123456789012:instance-profile/elbow-web",
              "user_data":"I2Nsb3VkLWNvbmZpZwo=","tags":{"elbow:balancer":"web","elbow:vpc":"0"},"metadata_tags":true,
              "launched":"2026-01-02T03:04:05.678+00:00","reservation":"r-1"}]}"##;
        serde_json::from_str(world).unwrap()
    }
}
