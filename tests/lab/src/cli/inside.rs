//! Runs commands in an instance or in the client's network namespace. This process becomes the command, so that
//! streams, signals and the exit status are the command's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::ask;
use crate::daemon::addresses::CLIENT;
use crate::daemon::protocol::Request;
use crate::dir::LabDir;
use crate::instance::Machine;
use crate::network::namespace;

/// Replaces this process with a command inside an instance.
pub fn exec(dir: &LabDir, id: String, command: Vec<OsString>) -> Result<()> {
    let id: String = ask::ask_as(dir, &Request::Who { id })?;
    let Some(machine) = Machine::find(dir, &id)? else {
        bail!("{id}: not running in the lab, it exists in the API only")
    };
    become_command(machine.command([])?.args(command))
}

/// Replaces this process with a command in the client's network namespace, on this machine's files, in the caller's
/// folder.
pub fn client(dir: &LabDir, command: Vec<OsString>) -> Result<()> {
    ask::need_root()?;
    if !ask::is_up(dir)? {
        bail!("no lab is up; start one with `lab up`");
    }
    let [program, arguments @ ..] = command.as_slice() else { bail!("no command to run") };
    namespace::enter(&namespace::behind(CLIENT), || become_command(Command::new(program).args(arguments)))?
}

fn become_command(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(anyhow!(error)).with_context(|| format!("running {}", command.get_program().display()))
}
