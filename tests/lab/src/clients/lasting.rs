//! Clients with one long connection: an upload, a download, an idle connection. They write HTTP by hand to control when
//! each byte is sent.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{LIMIT, Place};

/// Uploads one byte at a time until the crowd ends, then compares the target's count.
pub(super) async fn upload(place: Place, every: Duration) {
    lasting("upload", place, async |place, mut stream| {
        stream.write_all(b"POST /upload HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let mut ticks = tokio::time::interval(every);
        let mut sent = 0;
        let mut answer = [0; 1024];
        while !place.is_over() {
            tokio::select! {
                _ = ticks.tick() => stream.write_all(b"1\r\n.\r\n").await?,
                read = stream.read(&mut answer) => bail!("answered too early: {} bytes", read?),
            }
            sent += 1;
            if sent == 3 {
                place.opened();
            }
        }
        stream.write_all(b"0\r\n\r\n").await?;
        let answer = read_until(&mut stream, |text| text.ends_with('\n') && text.contains("\r\n\r\n")).await?;
        ensure!(answer.ends_with(&format!("\r\n{sent}\n")), "sent {sent} bytes, but the target answered: {answer}");
        Ok(())
    })
    .await;
}

/// Keeps an idle connection until the crowd ends, then checks that it still echoes.
pub(super) async fn idle(place: Place) {
    lasting("idle", place, async |place, mut stream| {
        stream.write_all(b"GET /echo HTTP/1.1\r\nHost: lab\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await?;
        let answer = read_until(&mut stream, |text| text.ends_with("\r\n\r\n")).await?;
        ensure!(answer.starts_with("HTTP/1.1 101 "), "no protocol upgrade: {answer}");
        place.opened();
        let mut something = [0; 16];
        tokio::select! {
            () = place.over() => {}
            read = stream.read(&mut something) => bail!("the connection ended, or got {} unexpected bytes", read?),
        }
        stream.write_all(b"still there?").await?;
        let answer = read_until(&mut stream, |text| text.len() >= 12).await?;
        ensure!(answer == "still there?", "wrong echo: {answer}");
        Ok(())
    })
    .await;
}

/// Reads a download to its end.
pub(super) async fn download(place: Place, seconds: u64) {
    lasting("download", place, async |place, mut stream| {
        let request = format!("GET /download?seconds={seconds} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut all = Vec::new();
        loop {
            let before = all.len();
            let read =
                tokio::time::timeout(LIMIT, stream.read_buf(&mut all)).await.context("no more data in time")??;
            if before == 0 {
                place.opened();
            }
            if read == 0 {
                break;
            }
        }
        // The answer is chunked: `end` comes before the last chunk.
        let text = String::from_utf8_lossy(&all);
        ensure!(text.trim_end().ends_with("end\n\r\n0"), "the download ended after {} bytes", all.len());
        Ok(())
    })
    .await;
}

async fn lasting(kind: &'static str, mut place: Place, client: impl AsyncFnOnce(&mut Place, TcpStream) -> Result<()>) {
    let whole = async {
        let stream = TcpStream::connect(place.to).await.context("connecting")?;
        stream.set_nodelay(true)?;
        client(&mut place, stream).await
    };
    let outcome = whole.await;
    if let Err(error) = outcome {
        place.note(|report| report.lost(kind, &error));
    }
}

async fn read_until(stream: &mut TcpStream, whole: impl Fn(&str) -> bool) -> Result<String> {
    let mut all = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&all);
            if whole(&text) {
                return Ok(text.into_owned());
            }
            drop(text);
            ensure!(stream.read_buf(&mut all).await? > 0, "the connection ended after {} bytes", all.len());
        }
    };
    tokio::time::timeout(LIMIT, reading).await.context("no answer in time")?
}
