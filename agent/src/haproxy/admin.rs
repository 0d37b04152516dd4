//! HAProxy's admin socket (HAProxy management guide, 9.3): reads the state of the process, of its peers and of its
//! connections, and reads and sets the state of servers.

use std::io;
use std::path::Path;
use std::time::Duration;

use templates::paths::ADMIN_SOCKET;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::server_state::Order;

/// The time limit of an answer. A process that exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(2);
/// The end of each answer on an interactive connection.
const PROMPT: &[u8] = b"\n> ";

/// A connection to one process of HAProxy. It stays with that process over a reload.
#[derive(Debug)]
pub(super) struct Admin {
    stream: UnixStream,
}

impl Admin {
    pub(super) async fn connect() -> io::Result<Admin> {
        Admin::at(Path::new(ADMIN_SOCKET)).await
    }

    async fn at(socket: &Path) -> io::Result<Admin> {
        let mut admin = Admin { stream: UnixStream::connect(socket).await? };
        // Makes the connection interactive. Otherwise HAProxy closes it after one command.
        admin.ask("prompt").await?;
        Ok(admin)
    }

    /// The state of all servers, for [`super::server_state::rows`].
    pub(super) async fn servers(&mut self) -> io::Result<String> {
        self.ask("show servers state").await
    }

    /// The statistics of all servers, for [`super::stats::read`].
    pub(super) async fn statistics(&mut self) -> io::Result<String> {
        self.ask("show stat -1 4 -1").await
    }

    /// The process: lines such as `Uptime_sec: 5`.
    pub(super) async fn info(&mut self) -> io::Result<String> {
        self.ask("show info").await
    }

    /// The nodes that it shares stick tables with.
    pub(super) async fn peers(&mut self) -> io::Result<String> {
        self.ask("show peers").await
    }

    /// The open connections, for [`super::sessions::Sessions`].
    pub(super) async fn sessions(&mut self) -> io::Result<String> {
        self.ask("show sess").await
    }

    /// The id of the process.
    pub(super) async fn pid(&mut self) -> io::Result<String> {
        let info = self.info().await?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
        pid.map(str::to_owned).ok_or_else(|| io::Error::other("HAProxy doesn't show its process id"))
    }

    /// Sets a server's state.
    pub(super) async fn set(&mut self, order: &Order) -> io::Result<()> {
        let command = format!("set server {} state {}", order.server, order.state);
        match self.ask(&command).await?.trim() {
            "" => Ok(()),
            why => Err(io::Error::other(format!("{command}: {why}"))),
        }
    }

    async fn ask(&mut self, command: &str) -> io::Result<String> {
        let exchange = async {
            self.stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = Vec::with_capacity(16 * 1024);
            while !answer.ends_with(PROMPT) {
                if self.stream.read_buf(&mut answer).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            answer.truncate(answer.len() - PROMPT.len());
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// Answers as HAProxy 2.6 does on an interactive connection, each answer in two pieces.
    async fn serve(listener: UnixListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut command = vec![0; 256];
        loop {
            let length = stream.read(&mut command).await.unwrap();
            let answer = match std::str::from_utf8(&command[..length]).unwrap() {
                "" => return,
                "prompt\n" | "set server web/a state drain\n" => "\n> ",
                "show info\n" => "Name: HAProxy\nPid: 123\n\n> ",
                _ => "No such server.\n\n> ",
            };
            for piece in [&answer[..2], &answer[2..]] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn one_connection_takes_several_commands_and_a_refusal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let served = tokio::spawn(serve(UnixListener::bind(&socket).unwrap()));
        let mut admin = Admin::at(&socket).await.unwrap();
        assert_eq!(admin.pid().await.unwrap(), "123");
        let order = |name: &str| Order { server: format!("web/{name}"), state: "drain" };
        admin.set(&order("a")).await.unwrap();
        let error = admin.set(&order("b")).await.unwrap_err();
        assert_eq!(error.to_string(), "set server web/b state drain: No such server.");
        drop(admin);
        served.await.unwrap();
    }
}
