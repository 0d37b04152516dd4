//! The lab's control socket: one request a connection, a line of JSON each way.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::protocol::{Answer, Request};

/// Answers requests.
pub trait Control: Send + Sync + 'static {
    /// Carries out a request. An error becomes the answer's one line.
    fn answer(&self, request: Request) -> impl Future<Output = Result<Value>> + Send;
}

/// Listens at `path`, and replaces a socket that a dead lab left there.
pub fn bind(path: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => UnixListener::bind(path).with_context(|| format!("listening at {}", path.display())),
    }
}

/// Answers requests until a `down` has succeeded.
pub async fn serve(listener: UnixListener, control: Arc<impl Control>) -> Result<()> {
    let (down, mut downs) = tokio::sync::mpsc::channel(1);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting at the control socket")?;
                let (control, down) = (control.clone(), down.clone());
                tokio::spawn(async move {
                    match converse(stream, &*control).await {
                        Ok(true) => { let _ = down.send(()).await; }
                        Ok(false) => {}
                        Err(error) => tracing::warn!(error = format!("{error:#}"), "control request failed"),
                    }
                });
            }
            _ = downs.recv() => return Ok(()),
        }
    }
}

/// Serves one request. Returns `true` after a successful `down`.
async fn converse(mut stream: UnixStream, control: &impl Control) -> Result<bool> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    BufReader::new(reading).read_line(&mut line).await.context("reading a request")?;
    if line.is_empty() {
        return Ok(false);
    }
    let request: Request = serde_json::from_str(&line).with_context(|| format!("reading the request {line:?}"))?;
    let is_down = request == Request::Down;
    let answer: Answer = control.answer(request).await.map_err(|error| format!("{error:#}"));
    let ended = is_down && answer.is_ok();
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    let written = writing.write_all(text.as_bytes()).await;
    if !ended {
        written.context("writing an answer")?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::super::protocol::Order;
    use super::*;

    struct Echo;

    impl Control for Echo {
        async fn answer(&self, request: Request) -> Result<Value> {
            match request {
                Request::Down | Request::Do(Order::Heal) => Ok(Value::Null),
                Request::Do(Order::Kill { id }) => bail!("{id} is no instance"),
                other => Ok(serde_json::to_value(other)?),
            }
        }
    }

    async fn ask(path: &Path, text: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn requests_are_answered_until_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab.sock");
        std::fs::write(&path, "left by a dead lab").unwrap();
        let serving = tokio::spawn(serve(bind(&path).unwrap(), Arc::new(Echo)));
        assert_eq!(ask(&path, "{\"ask\":\"kill\",\"id\":\"i-1\"}\n").await, "{\"Err\":\"i-1 is no instance\"}\n");
        assert_eq!(ask(&path, "{\"ask\":\"heal\"}\n").await, "{\"Ok\":null}\n");
        assert_eq!(ask(&path, "nonsense\n").await, "");
        assert!(!serving.is_finished());
        assert_eq!(ask(&path, "{\"ask\":\"down\"}\n").await, "{\"Ok\":null}\n");
        serving.await.unwrap().unwrap();
    }
}
