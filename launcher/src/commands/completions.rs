//! `completions`: prints a shell's completions, which clap derives from the command line's types.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output;
use crate::output::failure::Failure;

pub fn run(shell: Shell) -> Result<(), Failure> {
    output::write(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "launcher", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_every_command() {
        let cli = Cli::command();
        let names: Vec<&str> = cli.get_subcommands().map(|command| command.get_name()).collect();
        assert!(names.contains(&"create"), "{names:?}");
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = String::from_utf8(script(shell)).unwrap();
            let missing: Vec<&&str> = names.iter().filter(|name| !script.contains(**name)).collect();
            assert!(missing.is_empty(), "{shell}: {missing:?}");
        }
    }
}
