//! The launcher's way to AWS: credentials, certificates, endpoints and proxies, and its messages when no answer comes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use crate::rig::{Rig, complaints, mutating, succeeded, text};

/// `launcher status` with these variables.
fn status(rig: &Rig, variables: &[(&str, &str)]) -> Output {
    let mut command = rig.command(["status"]);
    command.envs(variables.iter().copied()).output().unwrap()
}

/// `launcher status` fails with one line that contains `words`, and exits with 2.
#[track_caller]
fn refused(rig: &Rig, variables: &[(&str, &str)], words: &[&str]) {
    let output = status(rig, variables);
    let said = complaints(&output);
    assert_eq!(output.status.code(), Some(2), "{variables:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said:?} doesn't say all of {words:?}");
}

#[test]
fn an_environment_that_cannot_work_is_refused_in_a_line_that_names_it() {
    let rig = Rig::new();
    let file = |name: &str, text: &str| rig.file(name, text).to_str().unwrap().to_owned();
    let broken = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    let (broken, none) = (file("broken.pem", broken), file("none.pem", "no PEM at all\n"));
    let config = file(
        "config",
        "[profile empty]\noutput = json\n[profile sso]\nsso_start_url = https://sso.invalid\n\
                                 sso_region = eu-west-1\nsso_account_id = 1\nsso_role_name = r\n",
    );
    let unfinished = file("unfinished", "[profile a\n");
    refused(&rig, &[("AWS_ACCESS_KEY_ID", "AKIAX\r")], &["the AWS access key id contains an invalid character"]);
    refused(&rig, &[("AWS_SESSION_TOKEN", "a\nb")], &["the AWS session token contains an invalid character"]);
    refused(&rig, &[("AWS_CA_BUNDLE", &broken)], &["broken.pem: certificate number 1 can't be read"]);
    refused(&rig, &[("AWS_CA_BUNDLE", &none)], &["none.pem: contains no certificate"]);
    refused(&rig, &[("AWS_ENDPOINT_URL", "foo")], &["AWS_ENDPOINT_URL: \"foo\" isn't an endpoint URL"]);
    refused(&rig, &[("AWS_ENDPOINT_URL_EC2", "//x")], &["AWS_ENDPOINT_URL_EC2: \"//x\" isn't an endpoint URL"]);
    refused(&rig, &[("AWS_PROFILE", "nope")], &["AWS profile \"nope\" doesn't exist"]);
    refused(&rig, &[("AWS_CONFIG_FILE", &unfinished)], &["unfinished on line 1"]);
    let named = |profile: &str, words: &[&str]| {
        let mut command = rig.command(["--profile", profile, "status"]);
        let output = command.env("AWS_CONFIG_FILE", &config).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said:?} doesn't say all of {words:?}");
    };
    named("nope", &["AWS profile \"nope\" doesn't exist: use one of empty, sso"]);
    named("empty", &["no AWS credentials: profile \"empty\" provides none"]);
    named("sso", &["sign in with `aws sso login --profile sso`"]);
    assert!(rig.take_calls().is_empty());
}

#[test]
fn arguments_of_render_are_checked() {
    let rig = Rig::new();
    let file = rig.web();
    let file = file.to_str().unwrap();
    for (arguments, word) in [
        (&["render", "policy", file, "--region", "us east\""][..], "region \"us east\\\"\" isn't a valid name"),
        (
            &["render", "keepalived", file, "--members", "10.0.1.5", "--interface", "a b"],
            "not a network interface name",
        ),
    ] {
        let output = rig.launcher(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
}

/// The lab's API accepts requests to a proxy. The endpoint's name doesn't exist: the request must have used the proxy.
#[test]
fn calls_use_the_proxy_of_the_environment_except_for_no_proxy_hosts() {
    let rig = Rig::new();
    rig.create(&rig.web());
    let proxy = rig.api.access().endpoint.clone();
    let far = [("AWS_ENDPOINT_URL", "http://api.aws.invalid"), ("HTTP_PROXY", proxy.as_str())];
    assert!(text(&status(&rig, &far).stdout).contains("web"), "{}", text(&status(&rig, &far).stderr));

    // With TLS the proxy gets a CONNECT request and nothing else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            if line == "stop\n" {
                return asked;
            }
            asked.push(line);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
        asked
    });
    let proxy = format!("http://user:pw@{place}");
    let output = status(&rig, &[("AWS_ENDPOINT_URL", "https://api.aws.invalid"), ("HTTPS_PROXY", &proxy)]);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("https://api.aws.invalid via the proxy {place} (eu-west-1)")), "{said}");
    assert!(!said.contains("pw"), "{said}");
    std::net::TcpStream::connect(place).unwrap().write_all(b"stop\n").unwrap();
    let asked = asked.join().unwrap();
    assert_eq!(asked.first().map(String::as_str), Some("CONNECT api.aws.invalid:443 HTTP/1.1\r\n"));

    // The lab's address is in NO_PROXY: this proxy doesn't exist.
    succeeded(rig.launcher(["list"]));
    let mut command = rig.command(["list"]);
    succeeded(command.env("HTTP_PROXY", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1").output().unwrap());
}

#[test]
fn a_missing_answer_is_reported_with_region_and_endpoint() {
    let rig = Rig::new();
    rig.api.proxy().hang(Duration::from_secs(5));
    let output = rig.launcher(["list"]);
    let (said, endpoint) = (text(&output.stderr), &rig.api.access().endpoint);
    assert!(said.contains(&format!("waiting for AWS in eu-west-1, at {endpoint}")), "{said}");
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    succeeded(output);
    // No program listens on port 9.
    let output = status(&rig, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "no answer from AWS: http://127.0.0.1:9 (eu-west-1): Connection refused",
        "; check the network, --region and AWS_ENDPOINT_URL",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_parameter_that_holds_no_image_is_named_with_its_value() {
    let rig = Rig::new();
    let standard = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let other = "/aws/service/global-infrastructure/regions/eu-west-1/longName";
    for (parameter, words) in [
        (format!("{standard}:999"), "no such parameter"),
        (other.to_owned(), "holds \"Europe (Ireland)\", which isn't an image id"),
    ] {
        let toml = rig.example().replace(&rig.api.seed().images["main"], &format!("resolve:ssm:{parameter}"));
        let file = rig.file("image.toml", &toml);
        let output = rig.launcher(["create".as_ref(), file.as_os_str()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&parameter) && said.contains(words), "{said}");
    }
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}
