//! A queue of log lines, written to standard error by its own thread, so that a journal that stalls can't delay a
//! failover. Lines that don't fit into the queue are dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most lines in the queue: about 200 KB, an hour of a quiet node or a second of a busy takeover.
const MOST: usize = 1000;

/// The queue. A clone shares it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<Vec<u8>>,
    /// The number of lines that didn't fit behind `lines`.
    dropped: u64,
    /// Whether the thread is writing lines that it took from here.
    writing: bool,
}

impl Journal {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Journal> {
        let journal = Journal::default();
        let shared = journal.0.clone();
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || shared.write(out))?;
        Ok(journal)
    }

    /// Waits until all lines are written, at most for `limit`. Returns whether they are.
    pub fn flush(&self, limit: Duration) -> bool {
        let waits = |queue: &mut Queue| queue.writing || queue.has_work();
        let waited = self.0.changed.wait_timeout_while(self.0.queue(), limit, waits);
        let (_queue, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        !outcome.timed_out()
    }
}

/// Takes one whole line per call, and never waits.
impl Write for Journal {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if queue.lines.len() < MOST {
            queue.lines.push(line.to_vec());
        } else {
            queue.dropped += 1;
        }
        drop(queue);
        self.0.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn has_work(&self) -> bool {
        !self.lines.is_empty() || self.dropped > 0
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut out: impl Write) {
        let mut queue = self.queue();
        loop {
            queue.writing = false;
            self.changed.notify_all();
            queue = self.changed.wait_while(queue, |queue| !queue.has_work()).unwrap_or_else(PoisonError::into_inner);
            let (lines, dropped) = (std::mem::take(&mut queue.lines), std::mem::take(&mut queue.dropped));
            queue.writing = true;
            drop(queue);
            // If standard error is closed, there is no other place to report it.
            lines.iter().for_each(|line| drop(out.write_all(line)));
            if dropped > 0 {
                let said = format!(" WARN dropped log lines: standard error was blocked count={dropped}\n");
                let _ = out.write_all(said.as_bytes());
            }
            queue = self.queue();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A journal that stalls: it takes a line for each message on the channel.
    struct Stalled(Receiver<()>, Sender<String>);

    impl Write for Stalled {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_journal_blocks_no_writer_and_gets_the_number_of_dropped_lines() {
        let ((go, gone), (takes, taken)) = (channel(), channel());
        let mut journal = Journal::start(Stalled(gone, takes)).unwrap();
        journal.write_all(b"first\n").unwrap();
        while !journal.0.queue().writing {
            std::thread::yield_now();
        }
        for line in 0..MOST + 7 {
            journal.write_all(format!("line {line}\n").as_bytes()).unwrap();
        }
        assert!(!journal.flush(Duration::from_millis(10)));
        (0..2 * MOST).for_each(|_| go.send(()).unwrap());
        assert!(journal.flush(SOON));
        let lines: Vec<String> = taken.try_iter().collect();
        assert_eq!((lines[0].as_str(), lines[MOST].as_str()), ("first\n", format!("line {}\n", MOST - 1).as_str()));
        assert!(lines[MOST + 1..].concat().ends_with("count=7\n"), "{:?}", &lines[MOST + 1..]);
    }

    #[test]
    fn a_flush_waits_for_all_earlier_lines() {
        let ((go, gone), (takes, taken)) = (channel(), channel());
        let mut journal = Journal::start(Stalled(gone, takes)).unwrap();
        (0..3).for_each(|_| go.send(()).unwrap());
        (0..3).for_each(|line| journal.write_all(format!("{line}\n").as_bytes()).unwrap());
        assert!(journal.flush(SOON));
        assert_eq!(taken.try_iter().collect::<String>(), "0\n1\n2\n");
    }
}
