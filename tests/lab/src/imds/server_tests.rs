//! Tests of the metadata service over HTTP, from loopback addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use super::server::testing::world;
use super::*;
use crate::api::{Sessions, Upstream};
use crate::serving::testing::{Caller, loopback, text_of};
use crate::serving::{Door, text};
use crate::world::World;

struct Rig {
    imds: Imds,
    address: SocketAddr,
    world: watch::Sender<Arc<World>>,
    sessions: Sessions,
}

impl Rig {
    async fn before(moto: &str) -> Rig {
        let (world, seen) = watch::channel(Arc::new(world()));
        let sessions = Sessions::default();
        let imds = Imds::new(seen, Upstream::new(moto), sessions.clone());
        let (listener, address) = loopback();
        let served = imds.clone();
        tokio::spawn(async move { served.serve(listener).await });
        Rig { imds, address, world, sessions }
    }

    async fn new() -> Rig {
        Rig::before("http://127.0.0.1:9").await
    }

    async fn instance(&self) -> Instance {
        let mut caller = Caller::from("127.0.0.5", self.address).await;
        let token = text_of(&put(&mut caller, "21600").await).to_owned();
        Instance { caller, token }
    }
}

/// An instance with its token.
struct Instance {
    caller: Caller,
    token: String,
}

impl Instance {
    async fn get(&mut self, path: &str) -> Response<Bytes> {
        let request = Request::get(path).header("x-aws-ec2-metadata-token", &self.token).body(Full::default()).unwrap();
        self.caller.send(request).await.unwrap()
    }

    async fn text(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        text_of(&answer).to_owned()
    }
}

async fn put(caller: &mut Caller, seconds: &str) -> Response<Bytes> {
    let request = Request::put("/latest/api/token").header("X-aws-ec2-metadata-token-ttl-seconds", seconds);
    caller.send(request.body(Full::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn requests_without_a_token_are_refused() {
    let rig = Rig::new().await;
    let mut caller = Caller::from("127.0.0.5", rig.address).await;
    for path in ["/", "/latest/meta-data/", "/latest/user-data", "/latest/nothing"] {
        assert_eq!(caller.get(path).await.status(), 401, "{path}");
    }
    let token = put(&mut caller, "60").await;
    assert_eq!(token.headers()["x-aws-ec2-metadata-token-ttl-seconds"], "60");
    for seconds in ["0", "21601", "soon"] {
        assert_eq!(put(&mut caller, seconds).await.status(), 400, "{seconds}");
    }
    let bare = Request::put("/latest/api/token").body(Full::default()).unwrap();
    assert_eq!(caller.send(bare).await.unwrap().status(), 400);
    let forwarded = Request::put("/latest/api/token")
        .header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        .header("X-Forwarded-For", "10.0.0.1");
    assert_eq!(caller.send(forwarded.body(Full::default()).unwrap()).await.unwrap().status(), 403);
    let post = Request::post("/latest/meta-data/").body(Full::default()).unwrap();
    assert_eq!(caller.send(post).await.unwrap().status(), 405);
}

#[tokio::test]
async fn a_token_serves_only_the_instance_that_got_it() {
    let rig = Rig::new().await;
    let mut instance = rig.instance().await;
    assert_eq!(instance.text("/latest/meta-data/instance-id").await, "i-1");
    let mut thief = Instance { caller: Caller::from("127.0.0.6", rig.address).await, token: instance.token };
    assert_eq!(thief.get("/latest/meta-data/instance-id").await.status(), 401);
    let mut caller = Caller::from("127.0.0.6", rig.address).await;
    let token = text_of(&put(&mut caller, "60").await).to_owned();
    let mut stranger = Instance { caller, token };
    assert_eq!(stranger.get("/latest/meta-data/instance-id").await.status(), 404, "no instance has that address");
}

#[tokio::test]
async fn cloud_init_can_crawl_the_whole_tree() {
    let rig = Rig::new().await;
    let mut instance = rig.instance().await;
    let mut places = vec!["/2021-03-23/meta-data/".to_owned()];
    let mut leaves = 0;
    while let Some(place) = places.pop() {
        for name in instance.text(&place).await.lines() {
            let path = format!("{place}{name}");
            match name.ends_with('/') {
                true => places.push(path),
                false if place.contains("security-credentials") => {}
                false => leaves += usize::from(!instance.text(&path).await.is_empty()),
            }
        }
    }
    assert!(leaves > 30, "{leaves}");
    assert_eq!(instance.text("/latest/user-data").await, "#cloud-config\n");
}

#[tokio::test]
async fn a_changed_tag_shows_at_once() {
    let rig = Rig::new().await;
    let mut instance = rig.instance().await;
    assert_eq!(instance.get("/latest/meta-data/tags/instance/elbow:drain").await.status(), 404);
    let mut changed = world();
    changed.instances[0].tags.insert("elbow:drain".into(), "yes".into());
    rig.world.send(Arc::new(changed)).unwrap();
    assert_eq!(instance.text("/latest/meta-data/tags/instance/elbow:drain").await, "yes");
    assert_eq!(instance.text("/latest/meta-data/tags/instance").await, "elbow:balancer\nelbow:drain\nelbow:vpc");
}

#[tokio::test]
async fn a_notice_is_shown_from_its_setting_to_its_removal() {
    let rig = Rig::new().await;
    let mut instance = rig.instance().await;
    let path = "/latest/meta-data/spot/instance-action";
    assert_eq!(instance.get(path).await.status(), 404);
    let notice = r#"{"action": "terminate", "time": "2026-01-02T03:04:05Z"}"#;
    rig.imds.set("i-1", "spot/instance-action", Some(notice.into()));
    assert_eq!(instance.text(path).await, notice);
    assert!(instance.text("/latest/meta-data/").await.lines().any(|name| name == "spot/"));
    rig.imds.set("i-1", path, None);
    assert_eq!(instance.get(path).await.status(), 404);
    rig.imds.set("i-2", "spot/instance-action", Some(notice.into()));
    assert_eq!(instance.get(path).await.status(), 404, "the notice is another instance's");
}

#[tokio::test]
async fn a_roles_credentials_are_cached_and_renewed_before_they_expire() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let (listener, moto) = loopback();
    tokio::spawn(Door::plain(listener).serve(move |_, _| {
        let count = count.clone();
        async move {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(if number == 0 { 3600 } else { 1 });
            let given = serde_json::json!({
                "AccessKeyId": format!("ASIA{number}"), "SecretAccessKey": "secret", "Token": "token", "Expiration": ends,
            });
            Ok(text(StatusCode::OK, given.to_string()))
        }
    }));
    let rig = Rig::before(&format!("http://{moto}")).await;
    let mut instance = rig.instance().await;
    let path = "/latest/meta-data/iam/security-credentials/elbow-web";
    for _ in 0..3 {
        let document: serde_json::Value = serde_json::from_str(&instance.text(path).await).unwrap();
        assert_eq!((&document["Code"], &document["AccessKeyId"]), (&"Success".into(), &"ASIA0".into()));
        assert_eq!(document["Expiration"].as_str().unwrap().len(), "2026-01-02T03:04:05Z".len());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(rig.sessions.instance("ASIA0").as_deref(), Some("i-1"));
    rig.imds.set_credentials_life(Duration::from_secs(900));
    instance.text(path).await;
    let renewed: serde_json::Value = serde_json::from_str(&instance.text(path).await).unwrap();
    assert_eq!(renewed["AccessKeyId"], "ASIA2", "credentials that expire in a second are renewed");
}

#[tokio::test]
async fn the_sdk_reads_its_credentials() {
    let (listener, moto) = loopback();
    tokio::spawn(Door::plain(listener).serve(async |_, _| {
        let given = r#"{"AccessKeyId": "ASIA1", "SecretAccessKey": "secret", "Token": "token",
                        "Expiration": "2049-01-02T03:04:05Z"}"#;
        Ok(text(StatusCode::OK, given))
    }));
    let rig = Rig::before(&format!("http://{moto}")).await;
    let mut own = world();
    own.instances[0].address = Some(std::net::Ipv4Addr::LOCALHOST);
    rig.world.send(Arc::new(own)).unwrap();
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_config::provider_config::ProviderConfig::without_region().with_http_client(http);
    let endpoint = format!("http://{}", rig.address);
    let client = aws_config::imds::Client::builder().configure(&config).endpoint(endpoint).unwrap().build();
    let provider = aws_config::imds::credentials::ImdsCredentialsProvider::builder();
    let provider = provider.configure(&config).imds_client(client).build();
    let credentials = provider.provide_credentials().await.unwrap();
    assert_eq!((credentials.access_key_id(), credentials.session_token()), ("ASIA1", Some("token")));
    assert_eq!(rig.sessions.instance("ASIA1").as_deref(), Some("i-1"));
}

#[tokio::test]
async fn a_missing_sts_is_a_server_error() {
    let rig = Rig::new().await;
    let mut instance = rig.instance().await;
    assert_eq!(instance.get("/latest/meta-data/iam/security-credentials/elbow-web").await.status(), 500);
}
