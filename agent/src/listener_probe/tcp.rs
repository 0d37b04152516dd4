//! Asks TCP listeners: opens a connection, sends nothing, and looks up in HAProxy which target has it. An open
//! connection alone proves nothing: HAProxy accepts it before it has a target.

use std::time::Duration;

use templates::listener_probe::{Failure, Outcome};
use tokio::net::TcpStream;

use super::{Kind, Question, connect, failure};
use crate::haproxy::{self, Served};

/// The time limit of a connection to HAProxy, which is on this node.
const LIMIT: Duration = Duration::from_secs(1);
/// The pause before each look at HAProxy's connections.
const WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

/// A question that is answered, or still open.
enum Asked {
    Done(Outcome),
    Open(TcpStream),
}

/// The outcome of each question, in their order.
pub(super) async fn ask(questions: &[Question]) -> Vec<Outcome> {
    let mut all = futures::future::join_all(questions.iter().map(open)).await;
    for wait in WAITS {
        if all.iter().all(|asked| matches!(asked, Asked::Done(_))) {
            break;
        }
        tokio::time::sleep(wait).await;
        // Without HAProxy's answer, only the connections themselves are known.
        let sessions = haproxy::sessions().await.ok();
        for asked in &mut all {
            let Asked::Open(stream) = asked else { continue };
            let client = stream.local_addr().ok();
            let served = client.zip(sessions.as_ref()).and_then(|(client, sessions)| sessions.of(client));
            if let Some(outcome) = judge(listen(stream), served, wait == WAITS[WAITS.len() - 1]) {
                *asked = Asked::Done(outcome);
            }
        }
    }
    let outcome = |asked: Asked| match asked {
        Asked::Done(outcome) => outcome,
        Asked::Open(_) => Outcome::Connected,
    };
    all.into_iter().map(outcome).collect()
}

async fn open(question: &Question) -> Asked {
    match tokio::time::timeout(LIMIT, connect(question.to)).await {
        Ok(Ok(_)) if question.kind == Kind::Proxied => Asked::Done(Outcome::Connected),
        Ok(Ok(stream)) => Asked::Open(stream),
        Ok(Err(error)) => Asked::Done(Outcome::Failed(failure(&error))),
        Err(_) => Asked::Done(Outcome::Failed(Failure::Silent)),
    }
}

/// What came on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Nothing,
    /// Bytes of a target.
    Bytes,
    End,
}

fn listen(stream: &TcpStream) -> Came {
    match stream.try_read(&mut [0]) {
        Ok(0) => Came::End,
        Ok(_) => Came::Bytes,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Came::Nothing,
        Err(_) => Came::End,
    }
}

/// The outcome of a connection, if it is decided.
fn judge(came: Came, served: Option<Served>, is_last: bool) -> Option<Outcome> {
    match (served, came) {
        (Some(Served::By(target)), _) => Some(Outcome::Taken { target }),
        (_, Came::Bytes) => Some(Outcome::Connected),
        (_, Came::End) => Some(Outcome::Failed(Failure::Closed)),
        (Some(Served::Waiting), Came::Nothing) => is_last.then_some(Outcome::Failed(Failure::Waiting)),
        (None, Came::Nothing) => is_last.then_some(Outcome::Connected),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_connection_counts_when_a_target_has_it() {
        let by = || Some(Served::By("10.0.1.30:5432".to_owned()));
        let taken = Outcome::Taken { target: "10.0.1.30:5432".to_owned() };
        assert_eq!(judge(Came::Nothing, by(), false), Some(taken.clone()));
        assert_eq!(judge(Came::Bytes, by(), false), Some(taken));
        assert_eq!(judge(Came::Bytes, None, false), Some(Outcome::Connected));
        assert_eq!(judge(Came::End, None, false), Some(Outcome::Failed(Failure::Closed)));
        assert_eq!(judge(Came::Nothing, Some(Served::Waiting), false), None);
        assert_eq!(judge(Came::Nothing, Some(Served::Waiting), true), Some(Outcome::Failed(Failure::Waiting)));
        assert_eq!(judge(Came::Nothing, None, false), None);
        assert_eq!(judge(Came::Nothing, None, true), Some(Outcome::Connected));
    }

    #[tokio::test]
    async fn a_connection_that_the_other_side_ends_is_seen() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("it is IPv4") };
        let stream = connect(address).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        assert_eq!(listen(&stream), Came::Nothing);
        drop(other);
        stream.readable().await.unwrap();
        assert_eq!(listen(&stream), Came::End);
    }
}
