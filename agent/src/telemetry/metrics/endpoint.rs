//! Serves `GET /metrics`, `GET /targets` and `GET /haproxy/metrics` beside the health page, to members and to the
//! addresses in `[metrics] clients`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use super::page::Page;
use crate::haproxy::Exporter;
use crate::node::state::{Board, State};
use crate::target_health::Snapshot;

struct PageState {
    board: Board,
    page: Page,
    targets: watch::Receiver<Snapshot>,
    exporter: Exporter,
}

/// The router of the metrics page, of the list of targets, and of HAProxy's own metrics.
pub fn serve(board: Board, page: Page, targets: watch::Receiver<Snapshot>, exporter: Exporter) -> Router {
    let router = Router::new().route("/metrics", get(metrics)).route("/targets", get(list));
    let state = Arc::new(PageState { board, page, targets, exporter });
    router.route("/haproxy/metrics", get(haproxy_metrics)).with_state(state)
}

impl PageState {
    /// The node's state, if `visitor` may read the pages.
    fn show(&self, visitor: SocketAddr) -> Result<State, (StatusCode, &'static str)> {
        let state = self.board.read();
        match visitor.ip() {
            IpAddr::V4(visitor) if self.page.is_for(visitor, &state) => Ok(state),
            _ => Err((StatusCode::FORBIDDEN, "add this address to [metrics] clients in balancer.toml\n")),
        }
    }
}

async fn list(Shared(shared): Shared<Arc<PageState>>, ConnectInfo(visitor): ConnectInfo<SocketAddr>) -> Response {
    match shared.show(visitor) {
        Ok(_) => Json(&*shared.targets.borrow()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn metrics(Shared(shared): Shared<Arc<PageState>>, ConnectInfo(visitor): ConnectInfo<SocketAddr>) -> Response {
    let state = match shared.show(visitor) {
        Ok(state) => state,
        Err(refusal) => return refusal.into_response(),
    };
    match shared.page.text(&state) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

/// Passes HAProxy's answer on as it arrives: it has about 9 KB for each target.
async fn haproxy_metrics(
    Shared(shared): Shared<Arc<PageState>>,
    ConnectInfo(visitor): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(refusal) = shared.show(visitor) {
        return refusal.into_response();
    }
    match shared.exporter.ask(query.as_deref()).await {
        Ok(answer) => {
            let (status, head) = (answer.status(), [(CONTENT_TYPE, prometheus::TEXT_FORMAT)]);
            (status, head, Body::new(reqwest::Body::from(answer))).into_response()
        }
        Err(error) => {
            (StatusCode::BAD_GATEWAY, format!("HAProxy doesn't answer: {}\n", error.without_url())).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use reqwest::Response;
    use serde_json::Value;
    use tokio::net::TcpListener;

    use super::*;
    use crate::host::http;
    use crate::node::state::tests::state;
    use crate::target_health::tests::snapshot;
    use crate::telemetry::metrics::page::tests::page;

    async fn ask(url: String) -> Response {
        http::client().unwrap().get(url).send().await.unwrap()
    }

    /// A node's pages for this board, beside a HAProxy at this address.
    async fn open(board: &Board, haproxy: SocketAddr) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let targets = watch::Sender::new(snapshot()).subscribe();
        let app = serve(board.clone(), page(), targets, Exporter::at(http::client().unwrap(), haproxy));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// An exporter that answers with the query.
    async fn exporter() -> SocketAddr {
        async fn answer(RawQuery(query): RawQuery) -> (StatusCode, String) {
            (StatusCode::NOT_IMPLEMENTED, format!("asked for {query:?}"))
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/metrics", get(answer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    #[tokio::test]
    async fn the_pages_are_for_members_only() {
        let board = Board::new(state());
        let url = open(&board, exporter().await).await;
        for page in ["/metrics", "/targets", "/haproxy/metrics"] {
            assert_eq!(ask(format!("{url}{page}")).await.status(), StatusCode::FORBIDDEN);
        }
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        let list: Value = ask(format!("{url}/targets")).await.json().await.unwrap();
        assert_eq!(list, serde_json::to_value(snapshot()).unwrap());
        let answer = ask(format!("{url}/metrics")).await;
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
        assert!(answer.text().await.unwrap().contains("# TYPE elbow_role gauge"));
    }

    #[tokio::test]
    async fn haproxys_answer_is_passed_on_with_its_status() {
        let board = Board::new(state());
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        let url = open(&board, exporter().await).await;
        for (query, said) in
            [("", "asked for None"), ("?scope=server&no-maint", "asked for Some(\"scope=server&no-maint\")")]
        {
            let answer = ask(format!("{url}/haproxy/metrics{query}")).await;
            assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
            assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
            assert_eq!(answer.text().await.unwrap(), said);
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let answer = ask(format!("{}/haproxy/metrics", open(&board, closed).await)).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert!(answer.text().await.unwrap().starts_with("HAProxy doesn't answer: "));
    }
}
