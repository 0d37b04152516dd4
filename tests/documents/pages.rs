//! Reads the documents: their blocks, commands and running text.

use std::path::{Path, PathBuf};

/// A document, named by its path in the checkout.
pub struct Page {
    pub name: String,
    pub text: String,
}

/// A fenced block, without its indentation.
pub struct Block {
    pub language: String,
    pub lines: Vec<String>,
}

/// A command line of a block, without its comment, and the output that the block shows below it.
pub struct Step {
    pub command: String,
    pub shown: Vec<String>,
}

pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All documents.
pub fn pages() -> Vec<Page> {
    let entries = std::fs::read_dir(checkout().join("docs")).unwrap();
    let docs = entries.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/lab/README.md"];
    let names = docs.filter(|name| name.ends_with(".md")).chain(others.map(str::to_owned));
    names.map(|name| Page::read(&name)).collect()
}

impl Page {
    pub fn read(name: &str) -> Page {
        let text = std::fs::read_to_string(checkout().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Page { name: name.to_owned(), text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for line in self.text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, &mut open) {
                (Some(language), None) => {
                    let block = Block { language: language.to_owned(), lines: Vec::new() };
                    open = Some((line.len() - line.trim_start().len(), block));
                }
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (None, Some((indent, block))) => block.lines.push(line.get(*indent..).unwrap_or_default().to_owned()),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block without an end", self.name);
        blocks
    }

    /// The command lines of all blocks.
    pub fn steps(&self) -> Vec<Step> {
        self.blocks().iter().flat_map(Block::steps).collect()
    }

    /// The text without its blocks.
    pub fn prose(&self) -> String {
        self.text.split("```").step_by(2).collect()
    }
}

/// Code in running text.
pub fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

impl Block {
    /// A block shows commands if it is marked as a script, begins with a prompt, or begins with a word as programs have
    /// it. Another block shows a file or an output.
    fn steps(&self) -> Vec<Step> {
        let first = self.lines.first().map_or("", String::as_str);
        let word = first.split(' ').next().unwrap_or_default();
        let names_a_program = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || "-/".contains(c));
        let mut steps: Vec<Step> = Vec::new();
        if self.language.is_empty() && first.starts_with("$ ") {
            for line in &self.lines {
                if let Some(command) = line.strip_prefix("$ ") {
                    steps.push(Step::of(command));
                } else if let Some(step) = steps.last_mut() {
                    step.shown.push(line.clone());
                }
            }
        } else if self.language == "sh" || (self.language.is_empty() && names_a_program) {
            let script = self.lines.join("\n").replace("\\\n", " ");
            steps.extend(script.lines().map(Step::of).filter(|step| !step.command.is_empty()));
        }
        steps
    }
}

impl Step {
    fn of(line: &str) -> Step {
        let command = format!(" {line}").split(" #").next().unwrap_or_default().trim().to_owned();
        Step { command, shown: Vec::new() }
    }
}

/// The words of each simple command: `a && b`, `a | b` and `a $(b)` have two.
pub fn simple(command: &str) -> Vec<Vec<String>> {
    let apart = command.replace("$((", "((").replace("&&", "\n").replace([';', '|'], "\n");
    let apart = apart.replace("$(", "\n").replace(')', "\n)");
    // What follows a `)` continues the command around it.
    let pieces = apart.lines().map(str::trim).filter(|piece| !piece.starts_with(')'));
    pieces.map(words).filter(|words| !words.is_empty()).collect()
}

/// The words from the program's name to a redirection.
fn words(piece: &str) -> Vec<String> {
    let words = piece.split_whitespace().skip_while(|word| is_before_a_program(word));
    let words = words.take_while(|word| *word != ">").map(|word| word.trim_matches('"').to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// A word of the shell, an assignment, or what is left of a command around `$(…)`.
fn is_before_a_program(word: &str) -> bool {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ["sudo", "eval", "export", "do", "until", "[", "\""].contains(&word)
        || word.starts_with('-')
        || word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

#[test]
fn commands_and_their_output_are_found() {
    let text = "  ```\n  $ launcher create web.toml   # x\n  made\n  …\n  ```\n\
        ```sh\n# y\ngroup=$(aws ec2 x \\\n  --y \"$(jq .z)\") # c\n```\n\
        ```\nlab up && eval \"$(sudo target/release/lab env)\"\n```\n```\n  TABLE\n```\n`lab down`\n";
    let page = Page { name: "page".to_owned(), text: text.to_owned() };
    let steps = page.steps();
    assert_eq!(steps[0].command, "launcher create web.toml");
    assert_eq!(steps[0].shown, ["made", "…"]);
    let apart = |step: &Step| simple(&step.command).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(apart(&steps[1]), ["aws ec2 x --y", "jq .z"]);
    assert_eq!(apart(&steps[2]), ["lab up", "target/release/lab env"]);
    assert_eq!(steps.len(), 3);
    assert_eq!(spans(&page.prose()).collect::<Vec<_>>(), ["lab down"]);
}
