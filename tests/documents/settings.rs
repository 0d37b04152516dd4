//! The documents' balancer files are valid, and they name every setting and every exit code.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use clap::CommandFactory;
use launcher::cli::Cli;
use launcher::output::failure::Failure;
use serde_json::Value;
use templates::Balancer;
use templates::balancer::schema;
use toml::Table;

use crate::commands::help;
use crate::pages::{Page, pages, spans};

const BASE: &str = r#"
name        = "web"
vpc         = "vpc-0a1b2c3d"
subnets     = ["subnet-0aaa", "subnet-0bbb"]
virtual_ips = ["10.255.0.10"]
agent       = { source = "https://example.com/agent", sha256 = "SHA256" }
listener    = [{ name = "http", protocol = "http", port = 80, targets = ["10.0.1.20:8080"] }]
"#;

#[test]
fn every_toml_block_in_a_document_is_a_balancer_or_a_part_of_one() {
    let mut parsed = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "toml") {
            let block = block.lines.join("\n");
            let part: Table = block.parse().unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.name));
            let file = match part.contains_key("name") {
                true => block.clone(),
                false => {
                    let mut whole: Table = BASE.replace("SHA256", &"0".repeat(64)).parse().unwrap();
                    whole.extend(part);
                    whole.to_string()
                }
            };
            if let Err(error) = Balancer::parse(&file) {
                panic!("{}: {error}\n{block}", page.name);
            }
            assert_eq!(refusal(&file), None, "{}: the schema refuses\n{block}", page.name);
            parsed += 1;
        }
    }
    assert!(parsed > 5, "{parsed} blocks found");
}

/// What the schema refuses in a balancer file's text, if anything.
fn refusal(file: &str) -> Option<String> {
    const NAME: &str = "https://schema.invalid/elbow.schema.json";
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource(NAME, serde_json::from_str(&schema()).unwrap()).unwrap();
    let index = compiler.compile(NAME, &mut schemas).unwrap();
    let value = serde_json::to_value(file.parse::<Table>().unwrap()).unwrap();
    schemas.validate(&value, index).err().map(|error| error.to_string())
}

#[test]
fn every_setting_is_in_its_section_and_every_documented_one_exists() {
    let whole: Value = serde_json::from_str(&schema()).unwrap();
    let mut settings = BTreeSet::new();
    collect(&whole, &whole, "", &mut settings);
    assert!(settings.len() > 60, "only {} settings were found", settings.len());

    let page = Page::read("docs/configuration.md");
    let prose = page.prose();
    let sections: Vec<(&str, &str)> = prose.split("\n## ").filter_map(|section| section.split_once('\n')).collect();
    for (table, key) in &settings {
        // A table without a section of its own is in another table's.
        let is_of = |heading: &str| match table.as_str() {
            "" => heading == "The balancer",
            table => heading.contains(&format!("[{table}]")) || heading.contains(&format!(".{table}]")),
        };
        let own = sections.iter().find(|&&(heading, _)| is_of(heading)).map_or(prose.as_str(), |&(_, section)| section);
        let is_a_heading = sections.iter().any(|&(heading, _)| words(heading).contains(key.as_str()));
        assert!(is_a_heading || words(own).contains(key.as_str()), "docs/configuration.md lacks {key} of [{table}]");
    }

    for row in prose.lines().filter(|line| line.starts_with("| `")) {
        for key in words(row.split(" |").next().unwrap_or_default()) {
            let is_known = settings.iter().any(|(_, known)| known == key);
            assert!(is_known, "docs/configuration.md: no setting is called {key}");
        }
    }
}

/// The keys of a schema, each with the table that has it.
fn collect(schema: &Value, whole: &Value, table: &str, found: &mut BTreeSet<(String, String)>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let there = reference.strip_prefix('#').and_then(|path| whole.pointer(path));
        collect(there.expect("the reference leads to a schema"), whole, table, found);
    }
    for forms in ["allOf", "anyOf", "oneOf"].map(|key| schema[key].as_array()) {
        forms.into_iter().flatten().for_each(|form| collect(form, whole, table, found));
    }
    if schema["items"].is_object() {
        collect(&schema["items"], whole, table, found);
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        found.insert((table.to_owned(), key.clone()));
        collect(inner, whole, key, found);
    }
}

/// The words in code of a text.
fn words(text: &str) -> BTreeSet<&str> {
    let words = spans(text).flat_map(|span| span.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_documents_name_every_exit_code() {
    let failures = [
        Failure::Failed(anyhow::anyhow!("failed")),
        Failure::Unfinished(Vec::new()),
        Failure::Interrupted,
        Failure::BadInput(Vec::new()),
        Failure::BadFile(Vec::new()),
        Failure::Degraded,
    ];
    let codes: BTreeSet<u8> = failures.iter().map(Failure::exit_code).chain([0]).collect();
    let about = Cli::command().get_long_about().expect("the launcher has a description").to_string();
    assert_eq!(listed(&about, "Exit codes"), codes, "launcher --help");
    assert_eq!(listed(&Page::read("docs/output.md").text, "Exit codes"), codes, "docs/output.md");

    let page = Page::read("docs/aws-evidence.md");
    let rows = page.text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    let rows: BTreeSet<u8> = rows.collect();
    assert_eq!(listed(&help("prove", None).unwrap(), "Exit code"), rows, "docs/aws-evidence.md");
}

/// The numbers in the sentence that begins with these words.
fn listed(text: &str, begin: &str) -> BTreeSet<u8> {
    let (_, rest) = text.split_once(begin).expect("it lists exit codes");
    let sentence = rest.split('.').next().unwrap_or_default();
    sentence.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
