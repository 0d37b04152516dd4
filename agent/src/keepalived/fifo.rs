//! Reads keepalived's notify FIFO. It is opened for reading and writing, so that it has no end when keepalived stops.
//! It stays in place when the agent stops.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::{CWD, FileType, Mode};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::Event;

/// The events that keepalived writes.
#[derive(Debug)]
pub struct Fifo {
    receiver: pipe::Receiver,
    pending: Vec<u8>,
    events: VecDeque<Event>,
}

impl Fifo {
    /// Opens the FIFO at `path`, creating it if necessary, and drops earlier lines. Their states may be outdated, and
    /// the token addresses on `lo` show the current ones.
    pub fn open(path: &Path) -> anyhow::Result<Fifo> {
        make(path).with_context(|| format!("creating the FIFO {}", path.display()))?;
        let receiver = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(path)
            .with_context(|| format!("opening the FIFO {}", path.display()))?;
        drain(&receiver);
        Ok(Fifo { receiver, pending: Vec::new(), events: VecDeque::new() })
    }

    /// The next event. Cancel safe: no event is lost.
    pub async fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.receiver.read_buf(&mut self.pending).await?;
            while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                self.events.extend(Event::parse(&String::from_utf8_lossy(&line)));
            }
        }
    }
}

fn make(path: &Path) -> anyhow::Result<()> {
    match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => {
            let found = FileType::from_raw_mode(rustix::fs::lstat(path)?.st_mode);
            if found != FileType::Fifo {
                bail!("the file exists and isn't a FIFO; remove it");
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn drain(receiver: &pipe::Receiver) {
    let mut buffer = [0; 4096];
    while rustix::io::read(receiver, &mut buffer).is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::time::Duration;

    use super::*;
    use crate::keepalived::VrrpState;

    fn say(path: &Path, text: &str) {
        OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn next(fifo: &mut Fifo) -> Event {
        tokio::time::timeout(Duration::from_secs(10), fifo.next()).await.expect("an event").unwrap()
    }

    #[tokio::test]
    async fn events_come_in_order_from_writers_that_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let mut fifo = Fifo::open(&path).unwrap();
        say(&path, "INSTANCE \"v0\" BACKUP 200\nINSTANCE \"v1\" MASTER 200\nINSTAN");
        say(&path, "CE \"v0\" MASTER 200\n");
        assert_eq!(next(&mut fifo).await, Event { vip: 0, state: VrrpState::Backup });
        assert_eq!(next(&mut fifo).await, Event { vip: 1, state: VrrpState::Master });
        assert_eq!(next(&mut fifo).await, Event { vip: 0, state: VrrpState::Master });
    }

    #[tokio::test]
    async fn lines_for_an_earlier_reader_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let earlier = Fifo::open(&path).unwrap();
        say(&path, "INSTANCE \"v0\" MASTER 200\n");
        let mut fifo = Fifo::open(&path).unwrap();
        drop(earlier);
        say(&path, "INSTANCE \"v0\" BACKUP 200\n");
        assert_eq!(next(&mut fifo).await.state, VrrpState::Backup);
    }

    #[tokio::test]
    async fn another_file_in_the_fifos_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        std::fs::write(&path, "").unwrap();
        let error = format!("{:#}", Fifo::open(&path).unwrap_err());
        assert!(error.ends_with("the file exists and isn't a FIFO; remove it"), "{error}");
    }
}
