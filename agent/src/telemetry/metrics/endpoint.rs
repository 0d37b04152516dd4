//! Serves `GET /metrics` and `GET /targets` beside the health page, to members and to the addresses in `[metrics]
//! clients`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, State as Shared};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use super::page::Page;
use crate::node::state::{Board, State};
use crate::target_health::Snapshot;

struct PageState {
    board: Board,
    page: Page,
    targets: watch::Receiver<Snapshot>,
}

/// The router of the metrics page and of the list of targets.
pub fn serve(board: Board, page: Page, targets: watch::Receiver<Snapshot>) -> Router {
    let state = Arc::new(PageState { board, page, targets });
    Router::new().route("/metrics", get(metrics)).route("/targets", get(list)).with_state(state)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::node::state::tests::state;
    use crate::target_health::tests::snapshot;
    use crate::telemetry::metrics::page::tests::page;

    #[tokio::test]
    async fn metrics_and_targets_are_for_members_only() {
        let board = Board::new(state());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let targets = watch::Sender::new(snapshot());
        let app = serve(board.clone(), page(), targets.subscribe()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let read =
            async |page: &str| crate::host::http::client().unwrap().get(format!("{url}{page}")).send().await.unwrap();
        for page in ["/metrics", "/targets"] {
            assert_eq!(read(page).await.status(), StatusCode::FORBIDDEN);
        }
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        let list: serde_json::Value = read("/targets").await.json().await.unwrap();
        assert_eq!(list, serde_json::to_value(snapshot()).unwrap());
        let answer = read("/metrics").await;
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
        assert!(answer.text().await.unwrap().contains("# TYPE elbow_role gauge"));
    }
}
