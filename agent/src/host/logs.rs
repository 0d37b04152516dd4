//! Sets up the agent's log: all lines go to standard error (under systemd, the journal), and warnings and boot events
//! also to the machine's console (AWS: "Instance console output").

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::OFlags;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::host::panics;

mod journal;

pub use journal::Journal;

/// How long an agent that exits waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The target of events that go to the console although they aren't warnings.
pub const CONSOLE: &str = "agent::console";

/// Starts logging to standard error, filtered by `ELBOW_LOG` (as in `ELBOW_LOG=agent=debug`), and to the console. No
/// thread waits for either. Dropping the returned value writes the last lines.
pub fn init(console: Console) -> anyhow::Result<Logs> {
    let lines = Journal::start(std::io::stderr()).context("starting the log's thread")?;
    let writer = lines.clone();
    let wanted = EnvFilter::try_from_env("ELBOW_LOG").unwrap_or_else(|_| EnvFilter::new("warn,agent=info"));
    let journal = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || writer.clone())
        .with_filter(wanted);
    let device = match console {
        Console::Too => open_console(),
        Console::No => None,
    };
    let console = device.map(|device| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .log_internal_errors(false)
            .event_format(Prefixed)
            .with_writer(Arc::new(device))
            .with_filter(filter_fn(|event| {
                event.target() == CONSOLE || (event.target().starts_with("agent") && *event.level() <= Level::WARN)
            }))
    });
    tracing_subscriber::registry().with(journal).with(console).init();
    let last = lines.clone();
    panics::end_the_process(move |limit| last.flush(limit));
    Ok(Logs(lines))
}

/// The log of a process. It is dropped last.
#[derive(Debug)]
pub struct Logs(Journal);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}

/// Whether to log to the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Log to the console as well.
    Too,
    /// Log to standard error only: the command runs in a terminal.
    No,
}

/// Opens the console without blocking: a serial console without a reader must not stop a failover.
fn open_console() -> Option<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().write(true).custom_flags(flags).open("/dev/console").ok()
}

/// Formats console lines with the prefix `elbow: `, as other programs write to the console as well.
struct Prefixed;

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "elbow: ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
