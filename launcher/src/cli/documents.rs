//! The documents show what works: every `launcher` command line in README.md and docs/ parses, and every TOML block is a
//! valid balancer file, or a part of one.

use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind;
use templates::Balancer;
use toml::Table;

use super::Cli;
use crate::commands::schema::tests::refusal;

const BASE: &str = r#"
name        = "web"
vpc         = "vpc-0a1b2c3d"
subnets     = ["subnet-0aaa", "subnet-0bbb"]
virtual_ips = ["10.255.0.10"]
agent       = { source = "https://example.com/agent", sha256 = "SHA256" }
listener    = [{ name = "http", protocol = "http", port = 80, targets = ["10.0.1.20:8080"] }]
"#;

/// Name and text of README.md and of each page in docs/.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let files = pages.chain([root.join("README.md"), root.join("CONTRIBUTING.md")]);
    files.map(|file| (file.display().to_string(), std::fs::read_to_string(file).unwrap())).collect()
}

/// The lines of each fenced block with its language, without the block's indentation.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, &mut open) {
            (Some(language), None) => {
                open = Some((line.len() - line.trim_start().len(), language.into(), String::new()))
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, language, text)| (language, text))),
            (None, Some((indent, _, text))) => *text += &format!("{}\n", line.get(*indent..).unwrap_or_default()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

/// Command lines of the launcher in a block: at a line's start, after a prompt, or inside `$(…)`.
fn commands(block: &str) -> Vec<String> {
    let lines = block.lines().map(|line| line.trim_start().trim_start_matches("$ "));
    let lines = lines.map(|line| line.split_once("$(").map_or(line, |(_, inner)| inner));
    let lines = lines.filter(|line| line.starts_with("launcher "));
    lines.map(|line| line.split(['#', '>', '|', ')']).next().unwrap_or_default().to_owned()).collect()
}

/// Commands in running text, such as `launcher status web`.
fn mentions(text: &str) -> Vec<String> {
    let text: String = text.split("```").step_by(2).collect();
    text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("launcher ")).map(str::to_owned).collect()
}

fn words(command: &str) -> Vec<String> {
    let placeholder = |word: &str| match word.trim_matches('"') {
        "$group" => "sg-0a1b2c3d".to_owned(),
        "SLOT" => "0".to_owned(),
        "INSTANCE" => "i-0a1b2c3d".to_owned(),
        word => word.to_owned(),
    };
    command.split_whitespace().map(placeholder).collect()
}

#[test]
fn every_command_line_in_a_document_parses() {
    let mut parsed = 0;
    for (name, text) in documents() {
        for command in blocks(&text).iter().flat_map(|(_, block)| commands(block)) {
            if let Err(error) = Cli::try_parse_from(words(&command)) {
                panic!("{name}: {command}: {error}");
            }
            parsed += 1;
        }
        for command in mentions(&text) {
            // Running text may leave arguments out.
            let short = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
            match Cli::try_parse_from(words(&command)) {
                Err(error) if !short.contains(&error.kind()) => panic!("{name}: `{command}`: {error}"),
                _ => parsed += 1,
            }
        }
    }
    assert!(parsed > 40, "{parsed} command lines found");
}

#[test]
fn every_toml_block_in_a_document_is_a_balancer_or_a_part_of_one() {
    let mut parsed = 0;
    for (name, text) in documents() {
        for (_, block) in blocks(&text).into_iter().filter(|(language, _)| language == "toml") {
            let part: Table = block.parse().unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
            let file = match part.contains_key("name") {
                true => block.clone(),
                false => {
                    let mut whole: Table = BASE.replace("SHA256", &"0".repeat(64)).parse().unwrap();
                    whole.extend(part);
                    whole.to_string()
                }
            };
            if let Err(error) = Balancer::parse(&file) {
                panic!("{name}: {error}\n{block}");
            }
            assert_eq!(refusal(&file), None, "{name}: the schema refuses\n{block}");
            parsed += 1;
        }
    }
    assert!(parsed >= 4, "{parsed} blocks found");
}

#[test]
fn a_wrong_command_and_a_block_without_its_end_are_found() {
    assert_eq!(
        commands("  $ launcher create web.toml # x\nx=$(launcher list --output json | jq)"),
        ["launcher create web.toml ", "launcher list --output json "]
    );
    assert_eq!(mentions("run `launcher status web`, not `agent`\n```\n`launcher no`\n```\n"), ["launcher status web"]);
    assert!(Cli::try_parse_from(words("launcher creat web.toml")).is_err());
    assert_eq!(blocks("a\n   ```toml\n   x = 1\n   ```\n"), [("toml".to_owned(), "x = 1\n".to_owned())]);
}
