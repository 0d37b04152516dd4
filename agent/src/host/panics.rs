//! A panic in any thread or task ends the agent, in every build profile: one that lost a task looks well and does only a
//! part of its work. systemd starts it again, and it resumes.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// From now on. `flush` writes out the log, within the time that it is given.
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
    format!("the agent ends: thread {thread} panicked{place}: {}", panic.payload_as_str().unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Set in the process that panics.
    const CHILD: &str = "ELBOW_TEST_PANIC";
    const SIGABRT: i32 = 6;

    /// The process outlives its panic by far, unless the panic ends it.
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
        // This test's own name, as the test program knows it: without the crate's.
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
