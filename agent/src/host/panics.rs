//! Ends the agent on a panic in any thread or task, in every build profile. An agent that lost a task would look
//! healthy and do only a part of its work. systemd restarts it.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

/// The time limit for writing the panic message.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Installs a panic hook that aborts the process. `flush` writes out the log within the given time.
pub fn end_the_process(flush: impl Fn(Duration) -> bool + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |panic| {
        tracing::error!("{}", describe(panic));
        flush(LAST_WORDS);
        std::process::abort();
    }));
}

fn describe(panic: &PanicHookInfo) -> String {
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    format!("ending the agent: thread {thread} panicked{place}: {}", panic.payload_as_str().unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Set in the process that panics.
    const CHILD: &str = "ELBOW_TEST_PANIC";
    const SIGABRT: i32 = 6;

    /// Panics, and then sleeps for 30 s if the panic doesn't end the process.
    fn survive(panics: &str) {
        end_the_process(|_| true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match panics {
            "task" => drop(runtime.spawn(async { panic!("in a task") })),
            "aside" => drop(runtime.spawn_blocking(|| panic!("aside"))),
            _ => drop(std::thread::spawn(|| panic!("in a thread"))),
        }
        runtime.block_on(tokio::time::sleep(Duration::from_secs(30)));
    }

    #[test]
    fn a_panic_in_any_task_or_thread_ends_the_process() {
        if let Ok(panics) = std::env::var(CHILD) {
            return survive(&panics);
        }
        // This test's path without the crate's name, as `--exact` needs it.
        let this =
            module_path!().split_once("::").unwrap().1.to_owned() + "::a_panic_in_any_task_or_thread_ends_the_process";
        for panics in ["task", "aside", "thread"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", &this]);
            let output = child.env(CHILD, panics).output().unwrap();
            assert_eq!(output.status.signal(), Some(SIGABRT), "{panics}: {output:?}");
        }
    }
}
