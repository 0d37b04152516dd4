//! A node that can't reach the API can't move routes: keepalived is told, and prefers others. Never FAULT: an API that is
//! out for all must not take every node out, and the one that has the routes serves on.

use std::path::Path;
use std::time::Duration;

use crate::aws::ec2::Api;
use crate::host::files::Track;

/// How often the way to the API is judged; the pool watches it all the time.
const EVERY: Duration = Duration::from_secs(1);

/// Tells keepalived through `track`, for ever: 1 while the API is lost, else 0.
pub(crate) async fn follow_reach(api: Api, track: &Path) {
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
        (true, _) => tracing::warn!("the EC2 API can't be reached: other nodes are preferred to this one until it can"),
        (false, Some(true)) => tracing::info!("the EC2 API can be reached again"),
        (false, _) => {}
    }
}
