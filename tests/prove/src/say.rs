//! Prints lines. A closed terminal or pipe must not end the clean-up, as `println!` would by its panic.

/// Prints a line to standard output, if it is still there.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

/// Prints a line to standard error, if it is still there.
macro_rules! complain {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arguments)*);
    }};
}

pub(crate) use {complain, say};
