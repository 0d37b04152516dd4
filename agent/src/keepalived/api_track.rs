//! Lowers this node's priority in keepalived while it can't reach the EC2 API, because it can't move routes. It is
//! never FAULT: an outage of the API must not stop every node, and the owner of the routes keeps serving.

use std::path::Path;
use std::time::Duration;

use crate::aws::ec2::Api;
use crate::host::files::Track;

/// How often the agent asks the connection pool, which watches the API all the time.
const EVERY: Duration = Duration::from_secs(1);

/// Writes keepalived's `track` file, forever: 1 while the API is lost, else 0.
pub(crate) async fn track_api(api: Api, track: &Path) {
    let (mut track, mut told) = (Track::at(track), None);
    loop {
        let lost = api.is_lost();
        if track.tell(i16::from(lost)) && told != Some(lost) {
            say(lost, told);
            told = Some(lost);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn say(lost: bool, before: Option<bool>) {
    match (lost, before) {
        (true, _) => tracing::warn!("EC2 API unreachable, other nodes are preferred until it recovers"),
        (false, Some(true)) => tracing::info!("EC2 API reachable again"),
        (false, _) => {}
    }
}
