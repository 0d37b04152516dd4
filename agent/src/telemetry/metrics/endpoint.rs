//! Serves `GET /metrics` beside the health page, to members and to the addresses in `[metrics] clients`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::page::Page;
use crate::node::state::Board;

struct PageState {
    board: Board,
    page: Page,
}

/// The router of the metrics page.
pub fn serve(board: Board, page: Page) -> Router {
    Router::new().route("/metrics", get(read)).with_state(Arc::new(PageState { board, page }))
}

async fn read(Shared(shared): Shared<Arc<PageState>>, ConnectInfo(visitor): ConnectInfo<SocketAddr>) -> Response {
    let state = shared.board.read();
    let known = matches!(visitor.ip(), IpAddr::V4(visitor) if shared.page.is_for(visitor, &state));
    if !known {
        return (StatusCode::FORBIDDEN, "add this address to [metrics] clients in balancer.toml\n").into_response();
    }
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
    use crate::telemetry::metrics::page::tests::page;

    #[tokio::test]
    async fn metrics_are_for_members_only() {
        let board = Board::new(state());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let app = serve(board.clone(), page()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let read = || async { crate::host::http::client().unwrap().get(&url).send().await.unwrap() };
        assert_eq!(read().await.status(), StatusCode::FORBIDDEN);
        board.change(|state| state.peers = vec![Ipv4Addr::LOCALHOST]);
        let answer = read().await;
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
        assert!(answer.text().await.unwrap().contains("# TYPE elbow_role gauge"));
    }
}
