//! `validate`, and the warnings that every command shows: without a call of the API, and with the place in the file.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::rig::{Rig, succeeded, text};

/// The launcher without credentials.
fn anonymous(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = rig.command(arguments);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"] {
        command.env_remove(name);
    }
    command
}

/// Runs it with a `haproxy` that keeps what it reads and then runs `script`.
fn offline(rig: &Rig, script: &str, arguments: &[&str]) -> Output {
    let program = rig.file("haproxy", &format!("#!/bin/sh\ncat > \"$0.read\"\n{script}\n"));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = anonymous(rig, arguments);
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let output = command.env("PATH", path).output().unwrap();
    assert!(rig.take_calls().is_empty(), "the launcher called the API");
    output
}

const UNUSED: &str = "\n[[target_group]]\nname = \"unused\"\nprotocol = \"http\"\ntargets = [\"10.0.1.20:8080\"]\n";

#[test]
fn errors_and_warnings_have_their_places_and_haproxy_advises() {
    let rig = Rig::new();
    let bad = rig.example().replace("port = 80\n", "port = 70000\n").replace("virtual_ips", "virtual_ip") + UNUSED;
    let file = rig.file("bad.toml", &bad);
    let path = file.to_str().unwrap();
    let output = offline(&rig, "exit 1", &["validate", path]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let expected = format!(
        "launcher: warning: {path}: line 18: target_group: no listener forwards to \"unused\"; its targets get no \
         traffic\n\
         \x20    |\n  18 | [[target_group]]\n     | ^^^^^^^^^^^^^^^^\n\
         launcher: {path}: line 4: virtual_ip: unknown key; did you mean virtual_ips?\n\
         \x20   |\n  4 | virtual_ip = [\"10.255.0.10\"]\n    | ^^^^^^^^^^\n\
         launcher: {path}: line 14: listener.port: 70000: not a number from 1 to 65535\n\
         \x20    |\n  14 | port = 70000\n     |        ^^^^^\n"
    );
    assert_eq!(text(&output.stderr), expected);
    assert!(!file.with_file_name("haproxy.read").exists(), "HAProxy was asked about a file with errors");
    let output = offline(&rig, "exit 1", &["validate", path, "--output", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["outcome"], "refused");
    assert_eq!(document["problems"].as_array().unwrap().len(), 2, "{document}");

    let good = rig.web();
    let good = good.to_str().unwrap();
    let output = succeeded(offline(&rig, "exit 0", &["validate", good]));
    let said = text(&output.stdout);
    assert!(said.contains("web.toml: valid, revision ") && !said.contains("not checked"), "{said}");
    assert_eq!(text(&output.stderr), "");
    let read = std::fs::read_to_string(file.with_file_name("haproxy.read")).unwrap();
    assert!(read.contains("\nfrontend http\n") && !read.contains("user haproxy"), "{read}");

    let alert = "echo '[ALERT]    (1) : config : parsing [/dev/stdin:7] : no such thing' >&2; exit 1";
    let output = succeeded(offline(&rig, alert, &["validate", good, "--output", "json"]));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["outcome"], "valid");
    assert_eq!(document["haproxy"], "refused");
    for said in [document["warnings"][0].as_str().unwrap().to_owned(), text(&output.stderr)] {
        assert!(said.contains("HAProxy refuses") && said.contains("[haproxy.cfg:7] : no such thing"), "{said}");
    }
}

#[test]
fn a_file_that_haproxy_did_not_check_is_valid_and_says_so() {
    let rig = Rig::new();
    let file = rig.web();
    let run = |arguments: &[&str], path: &str| {
        let stdin = File::open(&file).unwrap();
        text(&succeeded(anonymous(&rig, arguments).env("PATH", path).stdin(stdin).output().unwrap()).stdout)
    };
    let said = run(&["validate", file.to_str().unwrap()], "/nowhere");
    assert!(said.ends_with("; not checked by HAProxy: it isn't in the PATH\n"), "{said}");
    let said = run(&["validate", "-"], "/nowhere");
    assert!(said.starts_with("-: valid, revision "), "{said}");
    let json = |path: &str| -> serde_json::Value {
        serde_json::from_str(&run(&["validate", "-", "--output", "json"], path)).unwrap()
    };
    assert_eq!(json("/nowhere")["haproxy"], "not-checked");
    let program = rig.file("haproxy", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(json(program.parent().unwrap().to_str().unwrap())["haproxy"], "accepted");
}

#[test]
fn commands_that_read_a_file_show_its_warnings_once_and_not_in_their_results() {
    let rig = Rig::new();
    let file = rig.file("unused.toml", &(rig.example() + UNUSED));
    let path = file.to_str().unwrap();
    for command in [&["render", "haproxy"][..], &["create", "--no-wait"], &["update", "--dry-run"]] {
        // Without reports of nodes, the update is refused after it has read the file.
        let output = rig.launcher([command, &[path, "--output", "json"]].concat());
        let (result, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(said.matches("no listener forwards to \"unused\"").count(), 1, "{command:?}: {said}");
        assert!(!result.is_empty() && !result.contains("no listener forwards"), "{command:?}: {result}");
    }
}

#[test]
fn haproxy_cfg_is_rendered_for_a_size_of_memory() {
    let rig = Rig::new();
    let file = rig.web();
    let path = file.to_str().unwrap();
    let render = |more: &[&str]| {
        let output = rig.launcher([&["render", "haproxy", path][..], more].concat());
        text(&succeeded(output).stdout)
    };
    let (small, large) = (render(&[]), render(&["--memory", "8GiB"]));
    assert_eq!(small, render(&["--memory", "2048MB"]));
    assert!(small.contains("1536 of 2048 MB") && large.contains("7680 of 8192 MB"), "{small}{large}");
    for (memory, words) in
        [("much", "write a number and MB or GiB"), ("4", "write a number and MB or GiB"), ("1MB", "256MB")]
    {
        let output = rig.launcher(["render", "haproxy", path, "--memory", memory]);
        assert_eq!(output.status.code(), Some(2), "{memory}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}

#[test]
fn files_that_name_the_nodes_need_an_address_for_each_subnet() {
    let rig = Rig::new();
    let targets = "targets = [\"10.0.1.20:8080\", \"10.0.2.20:8080\"]\n";
    let group = format!(
        "forward = \"app\"\n\n[[target_group]]\nname = \"app\"\nprotocol = \"http\"\n{targets}sticky = {{ app_cookie = \"ID\" }}\n"
    );
    let (web, sticky) = (rig.web(), rig.file("sticky.toml", &rig.example().replace(targets, &group)));
    let (web, sticky) = (web.to_str().unwrap(), sticky.to_str().unwrap());
    let render = |arguments: &[&str]| rig.launcher([&["render"][..], arguments].concat());
    let three = ["keepalived", web, "--members", "10.0.1.10,10.0.2.10,10.0.3.10", "--slot", "1"];
    let wrong = "write 2 addresses, one for each of the balancer's subnets, not ";
    for (arguments, words) in [
        (&["keepalived", web][..], format!("--members: the rendered file names every node: {wrong}0")),
        (&["keepalived", web, "--members", "10.0.1.10"], format!("--members: {wrong}1")),
        (&three, format!("--members: {wrong}3")),
        (&["haproxy", web, "--members", "10.0.1.10"], format!("--members: {wrong}1")),
        (&["haproxy", sticky], format!("--members: the rendered file names every node: {wrong}0")),
        (&["haproxy", web, "--slot", "2"], "--slot 2: the balancer has 2 subnets: write a slot from 0 to 1".to_owned()),
    ] {
        let output = render(arguments);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(&words), "{arguments:?}: {said}");
    }
    for (what, file) in [("keepalived", web), ("haproxy", sticky)] {
        let members = ["--members", "10.0.1.10,10.0.2.10", "--slot", "1"];
        let said = text(&succeeded(render(&[&[what, file][..], &members].concat())).stdout);
        assert!(said.contains("10.0.1.10") && !said.contains("127.0.0.1:9112"), "{said}");
    }
}
