//! The launcher's commands, one file each.

mod bucket;
mod completions;
mod consent;
mod create;
mod destroy;
mod doctor;
mod handover;
mod init;
mod list;
mod render;
pub(crate) mod schema;
mod show_difference;
mod status;
mod update;
mod validate;
mod versions;

use crate::cli::{Cli, Command};
use crate::output::failure::Failure;

/// Runs the command.
pub async fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Init(args) => init::run(cli, args).await,
        Command::Create(args) => create::run(cli, args).await,
        Command::Update(args) => update::run(cli, args).await,
        Command::Status(args) => status::run(cli, args).await,
        Command::Doctor(args) => doctor::run(cli, args).await,
        Command::List => list::run(cli).await,
        Command::Handover(args) => handover::run(cli, args).await,
        Command::Destroy(args) => destroy::run(cli, args).await,
        Command::Bucket(args) => bucket::run(cli, args).await,
        Command::Validate(args) => validate::run(cli, args).await,
        Command::Render(what) => render::run(cli, what),
        Command::Schema => schema::run(),
        Command::Completions { shell } => completions::run(*shell),
    }
}
