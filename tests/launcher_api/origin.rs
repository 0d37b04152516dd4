//! What nodes boot and this Elbow didn't make: shown, and not overwritten; and a newer image behind the same name.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lab::by_hand;
use serde_json::{Value, json};

use crate::rig::{Rig, refused, succeeded, text};
use crate::update::{changed, created, default, ports, with_obedient_nodes};

/// Makes a version by hand, of version 1 and `data`, the default. Answers its number.
fn made_by_hand(rig: &Rig, data: &Value, described: &str) -> String {
    let data = data.to_string();
    let number = ["--query", "LaunchTemplateVersion.VersionNumber", "--output", "text"];
    let made = rig.aws(&[&by_hand::version(described, &data)[..], &number].concat());
    set_default(rig, &made);
    made
}

/// Creates a balancer. The file that it has, and a changed one.
fn files(rig: &Rig) -> [String; 2] {
    [created(rig), changed(rig)].map(|file| file.into_os_string().into_string().expect("UTF-8"))
}

fn set_default(rig: &Rig, version: &str) {
    let name = ["--launch-template-name", "elbow-web", "--default-version", version];
    rig.aws(&[&["ec2", "modify-launch-template"][..], &name].concat());
}

/// The default version's data, and its description.
fn boots(rig: &Rig) -> (Value, String) {
    let name = ["--launch-template-name", "elbow-web", "--versions", "$Default", "--output", "json"];
    let said = rig.aws(&[&["ec2", "describe-launch-template-versions"][..], &name].concat());
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let version = &said["LaunchTemplateVersions"][0];
    (version["LaunchTemplateData"].clone(), version["VersionDescription"].as_str().unwrap_or_default().to_owned())
}

/// The default version's user-data with `from` replaced.
fn user_data(rig: &Rig, from: &str, to: &str) -> String {
    let packed = STANDARD.decode(boots(rig).0["UserData"].as_str().expect("user-data")).expect("base64");
    let mut plain = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut plain).expect("gzip");
    assert!(plain.contains(from), "{plain}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(plain.replace(from, to).as_bytes()).expect("memory");
    STANDARD.encode(gzip.finish().expect("memory"))
}

#[test]
fn a_launch_template_that_somebody_changed_is_shown_and_left_alone_without_force() {
    let rig = Rig::new();
    let [first, file] = files(&rig);
    let (was, revision) = boots(&rig);
    let plain = rig.api.seed().images["plain"].clone();
    let disk = json!([{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 50, "Encrypted": true}}]);
    let audited = user_data(&rig, "runcmd:\n", "packages: [auditd]\nruncmd:\n");
    let metadata = json!({"HttpTokens": "optional", "InstanceMetadataTags": "enabled"});
    let cases = [
        (
            json!({"ImageId": plain}),
            &*revision,
            format!("ImageId ({plain} instead of {})", was["ImageId"].as_str().unwrap()),
        ),
        (
            json!({"KeyName": "ops", "BlockDeviceMappings": disk, "Monitoring": {"Enabled": true}, "EbsOptimized": true}),
            &*revision,
            "EbsOptimized, BlockDeviceMappings, KeyName, Monitoring".to_owned(),
        ),
        (json!({"UserData": audited}), &*revision, "has other UserData than version 1".to_owned()),
        (json!({"MetadataOptions": metadata}), "mine", "described as \"mine\"".to_owned()),
    ];
    for (data, described, said) in &cases {
        made_by_hand(&rig, data, described);
        let hand = ["was changed by hand", said, "--force"];
        // With the file that it has, too: it isn't so that nothing changes.
        for file in [&file, &first] {
            refused(&rig, &["update", file], &hand);
            refused(&rig, &["update", file, "--dry-run"], &hand);
        }
        refused(&rig, &["create", &first], &["isn't one that Elbow made", "launcher update"]);
        let status = rig.launcher(["status", "web"]);
        assert_eq!(status.status.code(), Some(3), "{data}");
        assert!(text(&status.stdout).contains("isn't one that Elbow made"), "{}", text(&status.stdout));
    }
    with_obedient_nodes(&rig, || {
        succeeded(rig.launcher(["update", &first, "--force"]));
        assert_eq!(default(&rig), "6", "version 1 is lower than what nodes run: its content is a new one");
        made_by_hand(&rig, &cases[0].0, &revision);
        succeeded(rig.launcher(["update", &file, "--force"]));
    });
    assert_eq!(ports(&rig), [Some(8080)]);
    assert_eq!(boots(&rig).0["ImageId"], was["ImageId"], "somebody's image is no pinned one");
}

#[test]
fn a_copy_of_what_elbow_made_is_nobodys_change_and_a_version_of_its_own_is_its_own_again() {
    let rig = Rig::new();
    let first = created(&rig);
    let (_, revision) = boots(&rig);
    made_by_hand(&rig, &json!({"InstanceType": "t3.small"}), &revision);
    assert!(text(&succeeded(rig.launcher(["update".as_ref(), first.as_os_str()])).stdout).contains("nothing changes"));
    with_obedient_nodes(&rig, || succeeded(rig.launcher(["update".as_ref(), changed(&rig).as_os_str()])));
    set_default(&rig, "1");
    let dry = succeeded(rig.launcher(["update".as_ref(), changed(&rig).as_os_str(), "--dry-run".as_ref()]));
    assert!(text(&dry.stdout).contains("make that version the one that nodes boot"), "{}", text(&dry.stdout));
}

#[test]
fn what_a_newer_elbow_made_is_not_taken_back_by_an_older_one() {
    let rig = Rig::new();
    let [first, file] = files(&rig);
    let (_, revision) = boots(&rig);
    let mark = |version| format!("# Made by Elbow {version}\n");
    let newer = user_data(&rig, &mark(env!("CARGO_PKG_VERSION")), &mark("99.1.0"));
    let made = made_by_hand(&rig, &json!({"UserData": newer}), &revision);
    let template = crate::update::template(&rig);
    rig.aws(&["ec2", "create-tags", "--resources", &template, "--tags", &format!("Key=elbow:made,Value=1-{made}")]);
    let parts = ["it was made by Elbow 99.1.0", "use Elbow 99.1.0"];
    for command in [&["update", &file][..], &["update", &first], &["create", &first, "--dry-run"]] {
        refused(&rig, command, &parts);
    }
    // One whose configuration this Elbow doesn't know.
    let unknown = user_data(&rig, "\"virtual_ips\"", "\"certificates\": [], \"virtual_ips\"");
    made_by_hand(&rig, &json!({"UserData": unknown}), &revision);
    let parts = ["can't be read", "it was made by Elbow 99.1.0", "use that Elbow"];
    let commands = [
        &["update", &first, "--force"][..],
        &["create", &first, "--dry-run"],
        &["create", &first],
        &["handover", "web"],
    ];
    for command in commands {
        refused(&rig, command, &parts);
    }
    let status = rig.launcher(["status", "web"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status.stdout).contains("it was made by Elbow 99.1.0"), "{}", text(&status.stdout));
}

#[test]
fn a_newer_image_behind_a_parameter_is_taken_when_it_is_asked_for_and_not_before() {
    let rig = Rig::new();
    let images = rig.api.seed().images.clone();
    let path = "/elbow/test/image";
    let put = |image: &str| {
        rig.aws(&["ssm", "put-parameter", "--overwrite", "--name", path, "--type", "String", "--value", image]);
    };
    put(&images["main"]);
    let named = format!("image = \"resolve:ssm:{path}\"");
    let file = rig.file("web.toml", &rig.example().replace(&format!("image = \"{}\"", images["main"]), &named));
    rig.create(&file);
    crate::node::serve(&rig);
    put(&images["plain"]);
    let update =
        |more: &[&str]| text(&succeeded(rig.launcher([&["update", file.to_str().unwrap()], more].concat())).stdout);
    let said = update(&[]);
    assert!(said.contains("nothing changes"), "{said}");
    assert!(
        said.contains(&format!("stands for {} by now, and nodes boot {}", images["plain"], images["main"])),
        "{said}"
    );
    let dry = update(&["--new-image", "--dry-run"]);
    for part in ["replace nodes, because of image", "launch node 1 anew", "shut node 0"] {
        assert!(dry.contains(part), "{dry}");
    }
    assert!(dry.contains(&format!("image {} instead of {}", images["plain"], images["main"])), "{dry}");
    let of = || -> Vec<String> { rig.nodes().into_iter().map(|node| node.image).collect() };
    with_obedient_nodes(&rig, || {
        update(&["--new-image"]);
        assert_eq!(of(), [images["plain"].clone(), images["plain"].clone()]);
        assert_eq!(update(&["--new-image"]).trim(), "web: nothing changes");
        assert_eq!(update(&[]).trim(), "web: nothing changes");
        succeeded(rig.launcher(["update", "--rollback", "web"]));
    });
    assert_eq!(of(), [images["main"].clone(), images["main"].clone()]);
}
