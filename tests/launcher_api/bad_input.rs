//! Bad input: the launcher prints one line that names the wrong value, exits with 2 and creates nothing.

use crate::doctor::{examined, ids};
use crate::rig::{self, Rig, complaints, mutating, text};

/// Runs `create` with a bad file; returns the one line of the error.
#[track_caller]
fn refused(rig: &Rig, toml: &str) -> String {
    let file = rig.file("bad.toml", toml);
    let said = rig::refused(rig, &["create", file.to_str().unwrap(), "--no-wait"], &[]);
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{said:?} doesn't say {word:?}");
    }
}

#[test]
fn invalid_files_are_refused_without_an_api_call() {
    let rig = Rig::new();
    let good = rig.example();
    let cases: &[(&str, &str, &[&str])] = &[
        ("name = \"web\"", "nmae = \"web\"", &["line 1", "nmae"]),
        ("protocol = \"http\"", "protocol = \"http\"\ncolour = \"red\"", &["line 16", "colour"]),
        ("[\"10.255.0.10\"]", "[\"10.255.0.10\", \"10.255.0.10\"]", &["10.255.0.10"]),
        ("10.0.1.20:8080", "10.0.1.20", &["10.0.1.20"]),
        ("name = \"web\"", "name = \"We b\"", &["We b"]),
        ("https://example.com/agent", "ftp://example.com/agent", &["ftp://"]),
    ];
    for (from, to, words) in cases {
        says(&refused(&rig, &good.replacen(from, to, 1)), words);
    }
    let one = good.replacen(&format!(", \"{}\"", rig.api.seed().subnets["private-b"]), "", 1);
    says(&refused(&rig, &one), &["subnets"]);
    let listener = "\n[[listener]]\nname = \"more\"\nport = 80\nprotocol = \"http\"\ntargets = [\"10.0.1.20:8080\"]\n";
    says(&refused(&rig, &format!("{good}{listener}")), &["80"]);
    assert!(rig.take_calls().is_empty(), "the launcher called the API");
}

#[test]
fn too_large_user_data_is_refused() {
    let rig = Rig::new();
    let mut big = rig.example();
    // Random addresses, which gzip can't compress much.
    let mut state: u32 = 1;
    for port in 1000..1040 {
        let targets: Vec<String> = (0..100)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [a, b, c, _] = state.to_be_bytes();
                format!("\"10.{a}.{b}.{c}:8080\"")
            })
            .collect();
        big.push_str(&format!(
            "\n[[listener]]\nname = \"l{port}\"\nport = {port}\nprotocol = \"tcp\"\ntargets = [{}]\n",
            targets.join(", ")
        ));
    }
    says(&refused(&rig, &big), &["16384", "install.sh and units: ", "listeners and rules: "]);
    let file = rig.file("big.toml", &big);
    let said = rig::refused(&rig, &["validate", file.to_str().unwrap()], &["16384", "listeners and rules: "]);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn files_that_do_not_fit_the_account_are_refused() {
    let rig = Rig::new();
    let good = rig.example();
    let seed = rig.api.seed().clone();
    let b = &seed.subnets["private-b"];
    // `create` refuses it, and `doctor` finds it by its id.
    let bad = |id: &str, from: &str, to: &str, words: &[&str]| {
        let toml = good.replacen(from, to, 1);
        says(&refused(&rig, &toml), words);
        let (code, findings) = examined(&rig, rig.file("bad.toml", &toml).to_str().unwrap());
        assert_eq!(code, Some(3), "{findings:?}");
        assert!(ids(&findings, "problem").contains(&id), "{id}: {findings:?}");
    };
    bad("virtual-ips", "10.255.0.10", "10.0.77.7", &["10.0.77.7", "10.0.0.0/16"]);
    bad("virtual-ips", "10.255.0.10", "10.255.9.9", &["10.255.9.9", &seed.route_tables["private-a"]]);
    bad("vpc", &seed.vpc, "vpc-00000000000000000", &["vpc-00000000000000000"]);
    bad("subnets", b, "subnet-00000000000000000", &["subnet-00000000000000000", "doesn't exist"]);
    let other = seed.others["subnet"].as_str().unwrap();
    bad("subnets", b, other, &[other, seed.others["vpc"].as_str().unwrap()]);
    bad("subnets", b, &seed.subnets["shared"], &[&seed.subnets["shared"], "shared from account"]);
    let (image, machine) = (&seed.images["main"], "image-and-type");
    bad(machine, "t3.small", "t9.gigantic", &["t9.gigantic", "doesn't exist"]);
    bad(machine, "t3.small", "t2.small", &["t2.small", "Xen"]);
    bad(machine, "t3.small", "t4g.small", &["t4g.small", "x86_64"]);
    bad(machine, image, "ami-00000000000000000", &["ami-00000000000000000"]);
    bad(machine, image, "resolve:ssm:/no/such", &["/no/such"]);
    let gateways = &seed.route_tables["gateway"];
    bad("route-tables", "[agent]", &format!("route_tables = [\"{gateways}\"]\n\n[agent]"), &[gateways, "gateway"]);
}

#[test]
fn subnets_in_one_zone_are_refused() {
    let rig = Rig::new();
    let vpc = rig.api.seed().vpc.clone();
    let place = ["--cidr-block", "10.0.200.0/24", "--availability-zone", "eu-west-1a", "--query", "Subnet.SubnetId"];
    let make = ["ec2", "create-subnet", "--output", "text", "--vpc-id", &vpc];
    let second = rig.aws(&[&make[..], &place].concat());
    let file = rig.example().replacen(&rig.api.seed().subnets["private-b"], &second, 1);
    says(&refused(&rig, &file), &["eu-west-1a", &second]);
}

#[test]
fn names_that_are_taken_are_refused() {
    let rig = Rig::new();
    let vpc = rig.api.seed().vpc.clone();
    let make = ["ec2", "create-security-group", "--group-name", "elbow-web", "--description", "mine", "--vpc-id", &vpc];
    let id = rig.aws(&[&make[..], &["--query", "GroupId", "--output", "text"]].concat());
    says(&refused(&rig, &rig.example()), &["elbow-web", &id, "isn't Elbow's"]);
    let (_, findings) = examined(&rig, rig.web().to_str().unwrap());
    assert_eq!(ids(&findings, "problem"), ["name"], "{findings:?}");
    rig.destroy();
    assert!(rig.world().security_groups.iter().any(|group| group.id == id), "destroy deleted it");
    rig.aws(&["ec2", "delete-security-group", "--group-id", &id]);

    let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let role = "elbow-eu-west-1-web";
    rig.aws(&["iam", "create-role", "--role-name", role, "--assume-role-policy-document", trust]);
    says(&refused(&rig, &rig.example()), &[role, "isn't Elbow's"]);
    assert_eq!(rig.launcher(["destroy", "web", "--yes"]).status.code(), Some(2), "destroy didn't refuse");
    rig.aws(&["iam", "delete-role", "--role-name", role]);

    rig.create(&rig.web());
    let other = rig.api.seed().others["vpc"].as_str().unwrap().to_owned();
    let moved = rig.example().replacen(&vpc, &other, 1);
    let file = rig.file("moved.toml", &moved);
    let output = rig.launcher(["create".as_ref(), file.as_os_str()]);
    assert_eq!(output.status.code(), Some(2));
    says(&text(&output.stderr), &["name \"web\" is taken", &vpc]);
    says(
        &refused(&rig, &rig.example().replacen("port = 80", "port = 81", 1)),
        &["differs in listener", "launcher update"],
    );
}

#[test]
fn missing_credentials_and_a_missing_region_are_refused() {
    let rig = Rig::new();
    let file = rig.web();
    for (unset, words) in [
        (&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"][..], "no AWS credentials"),
        (&["AWS_REGION", "AWS_DEFAULT_REGION"][..], "no region"),
    ] {
        let mut command = rig.command(["create".as_ref(), file.as_os_str()]);
        for name in unset {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = complaints(&output);
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        says(&said, &[words]);
    }
    let mut command = rig.command(["create".as_ref(), file.as_os_str()]);
    let output = command.env("AWS_SECRET_ACCESS_KEY", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0]);
}

/// `*` and `?` are wildcards in EC2's filters: as names they would match every balancer.
#[test]
fn invalid_names_are_refused() {
    let rig = Rig::new();
    rig.create(&rig.web());
    rig.take_calls();
    for name in ["*", "we?", "Web", ""] {
        for arguments in [&["status", name][..], &["destroy", name, "--yes"]] {
            let output = rig.launcher(arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            says(&text(&output.stderr), &[&format!("name: {name:?} is not a valid name")]);
        }
    }
    let hint = "; for the balancer of a file, give the name in the file";
    says(&text(&rig.launcher(["status", "web.toml"]).stderr), &["\"web.toml\" is not a valid name", hint]);
    for arguments in [["create", "web"], ["update", "web"]] {
        says(&text(&rig.launcher(arguments).stderr), &["web: can't be read: ", "; give a file, such as web.toml"]);
    }
    assert!(rig.take_calls().is_empty(), "the launcher called the API with such a name");
    assert_eq!(rig.nodes().len(), 2);
}

#[test]
fn a_named_profile_overrides_credentials_in_the_environment() {
    let rig = Rig::new();
    let config = rig.file("config", "[profile other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n");
    let refused = |profile: &str| {
        let mut command = rig.command(["--profile", profile, "list"]);
        let output = command.env("AWS_CONFIG_FILE", &config).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        let said = complaints(&output);
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        said
    };
    says(&refused("nope"), &["AWS profile \"nope\" doesn't exist"]);
    says(&refused("other"), &["AWS doesn't accept these credentials"]);
}

#[test]
fn invalid_regions_are_refused() {
    let rig = Rig::new();
    for region in ["eu west 1", "EU-WEST-1", "", "eu-west-1.example.com"] {
        let output = rig.launcher(["--region", region, "list"]);
        assert_eq!(output.status.code(), Some(2), "{region}");
        says(&text(&output.stderr), &[&format!("region {region:?}")]);
    }
    assert!(rig.take_calls().is_empty());
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let rig = Rig::new();
    let file = rig.web();
    for arguments in [&["render", "user-data"][..], &["render", "user-data", "--gzip"], &["render", "policy"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = rig.command(arguments.iter().map(std::ffi::OsStr::new).chain([file.as_os_str()]));
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        says(&text(&output.stderr), &["writing to standard output"]);
    }
    let file = file.to_str().unwrap();
    let output = rig.launcher(["render", "launch-template", file, "--security-group", "elbow-web"]);
    assert_eq!(output.status.code(), Some(2));
    says(&text(&output.stderr), &["--security-group", "not a security group id: write sg-…"]);
    let output = rig.launcher(["render", "keepalived", file, "--members", "10.0.1.5,10.0.1.5"]);
    assert_eq!(output.status.code(), Some(2));
    says(&text(&output.stderr), &["10.0.1.5 is there twice"]);
}
