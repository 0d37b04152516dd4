//! Checks docs/alerts.yml with `promtool`: the rules are valid, and each alert fires only when it should.

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::dir::LabDir;

use crate::machine::Said;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn promtool(arguments: &[&str], folder: &Path) -> Said {
    let program = LabDir::open().unwrap().promtool();
    let output = Command::new(&program).args(arguments).current_dir(folder).output();
    Said::from(output.unwrap_or_else(|error| panic!("{}: {error}: `make setup` first", program.display())))
}

#[test]
fn prometheus_accepts_the_example_alerts() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"], &path("../docs")).ok();
}

#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(path("../docs/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
    std::fs::copy(path("checks/alerts.test.yml"), folder.path().join("test.yml")).unwrap();
    promtool(&["test", "rules", "test.yml"], folder.path()).ok();

    let [rules, tests] =
        ["../docs/alerts.yml", "checks/alerts.test.yml"].map(|name| std::fs::read_to_string(path(name)).unwrap());
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")) || tests.contains(&format!("alertname: {name}\n")),
            "{name}"
        );
    }
}
