use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use templates::Balancer;

use super::*;

/// The words that the command line is refused with.
fn refusal(words: &[&str]) -> String {
    let error = Cli::try_parse_from([&["launcher"][..], words].concat()).unwrap_err();
    with_destroy(error).to_string()
}

fn find(names: &[&str]) -> Command {
    names.iter().fold(Cli::command(), |command, name| {
        command.find_subcommand(name).unwrap_or_else(|| panic!("{name} doesn't exist")).clone()
    })
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_update_lists_what_replaces_nodes() {
    // The two differ in almost every key.
    let [small, mut big] = [
        include_str!("../../../templates/goldens/small/balancer.toml"),
        include_str!("../../../templates/goldens/big/balancer.toml"),
    ]
    .map(|text| Balancer::parse(text).unwrap());
    big.iam.instance_profile = Some("nodes".to_owned());
    let keys = small.needs_new_nodes(&big);
    let (last, first) = keys.split_last().unwrap();
    let listed = format!("A change of {} or {last}, and any change", first.join(", "));
    let help = find(&["update"]).get_after_help().unwrap().to_string();
    assert!(help.contains(&listed), "{help}\nnot: {listed}");
}

#[test]
fn what_needs_a_region_says_so() {
    for name in ["launch-template", "policy", "operator-policy"] {
        let about = find(&["render", name]).get_about().unwrap().to_string();
        assert!(about.contains("Needs --region or AWS_REGION"), "{name}: {about}");
    }
}

#[test]
fn help_is_a_command_and_words_of_other_programs_lead_to_destroy() {
    for words in [&["help"][..], &["help", "update"], &["help", "render", "haproxy"]] {
        let error = Cli::try_parse_from([&["launcher"][..], words].concat()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{words:?}: {error}");
    }
    for word in ["delete", "remove", "rm"] {
        let said = refusal(&[word, "web"]);
        assert!(said.contains("'destroy'") && !said.contains("'create'"), "{said}");
    }
    assert!(refusal(&["creat", "web.toml"]).contains("'create'"));
}

#[test]
fn the_list_of_versions_takes_no_option_of_a_change() {
    for option in ["--dry-run", "--force", "--take-over", "--new-image", "--keep-agent", "--probe", "--timeout=1m"] {
        let said = refusal(&["update", "--versions", "web", option]);
        let name = option.split('=').next().unwrap_or_default();
        assert!(said.contains("cannot be used with") && said.contains(name), "{said}");
    }
    assert!(Cli::try_parse_from(["launcher", "update", "--versions", "web"]).is_ok());
}
