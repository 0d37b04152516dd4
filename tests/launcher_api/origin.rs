//! Drift of the default version: the launcher refuses a default that another program or a newer Elbow made, and shows
//! the difference. And a newer image behind the same SSM parameter.

use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lab::manual_changes;
use serde_json::{Value, json};

use crate::kill::{Killer, When, killed_at};
use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, refused, succeeded, text};
use crate::update::{changed, created, default, ports};

/// Makes a version from version 1 and `data` by hand, and sets it as the default. Returns its number.
fn made_by_hand(rig: &Rig, data: &Value, described: &str) -> String {
    let data = data.to_string();
    let number = ["--query", "LaunchTemplateVersion.VersionNumber", "--output", "text"];
    let made = rig.aws(&[&manual_changes::version(described, &data)[..], &number].concat());
    set_default(rig, &made);
    made
}

/// Creates a balancer; returns its file and a changed file.
fn files(rig: &Rig) -> [String; 2] {
    [created(rig), changed(rig)].map(|file| file.into_os_string().into_string().expect("UTF-8"))
}

fn set_default(rig: &Rig, version: &str) {
    let name = ["--launch-template-name", "elbow-web", "--default-version", version];
    rig.aws(&[&["ec2", "modify-launch-template"][..], &name].concat());
}

/// The default version's data and description.
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
fn a_default_that_was_set_by_hand_is_refused_with_what_differs_and_replaced_with_force() {
    let rig = Rig::new();
    let [first, file] = files(&rig);
    let (was, revision) = boots(&rig);
    let (image, plain) = (was["ImageId"].as_str().expect("an image"), rig.api.seed().images["plain"].clone());
    let cases = [
        (json!({"ImageId": plain}), vec![format!("-ImageId: {image}"), format!("+ImageId: {plain}")]),
        (json!({"KeyName": "ops"}), vec!["no difference in the fields that Elbow reads".to_owned()]),
    ];
    for (version, (data, differs)) in (2..).zip(&cases) {
        made_by_hand(&rig, data, &revision);
        let own =
            format!("version {version} of launch template elbow-web, which nodes boot, was made the default by hand");
        let mut parts = vec![&*own, "Elbow's default is version 1", "--force"];
        parts.extend(differs.iter().map(String::as_str));
        // The balancer's own file is refused, too: "nothing changes" would be wrong.
        let commands = [
            &["update", &file][..],
            &["update", &first, "--dry-run"],
            &["update", "--rollback", "web"],
            &["create", &first],
        ];
        for command in commands {
            refused(&rig, command, &parts);
        }
        let status = rig.launcher(["status", "web"]);
        assert_eq!(status.status.code(), Some(3), "{data}");
        assert!(text(&status.stdout).contains(&own), "{}", text(&status.stdout));
    }
    with_obedient_nodes(&rig, || {
        succeeded(rig.launcher(["update", &first, "--force"]));
        assert_eq!((default(&rig).as_str(), &boots(&rig).0), ("4", &was), "not the balancer's own content");
        made_by_hand(&rig, &cases[0].0, &revision);
        succeeded(rig.launcher(["update", &file, "--force"]));
        assert_eq!(boots(&rig).0["ImageId"], was["ImageId"], "the update pinned an image that was set by hand");
        made_by_hand(&rig, &cases[0].0, &revision);
        succeeded(rig.launcher(["update", "--rollback", "web", "--force"]));
        assert_eq!(default(&rig), "6", "the rollback didn't go to Elbow's own version");
        succeeded(rig.launcher(["update", &file]));
    });
    assert_eq!(ports(&rig), [Some(8080)]);
}

#[test]
fn an_update_killed_before_the_default_moved_blocks_no_later_command() {
    let killer = Arc::new(Killer::default());
    let rig = Rig::with(killer.clone());
    let [first, file] = files(&rig);
    with_obedient_nodes(&rig, || {
        assert!(killed_at(&rig, &killer, "ModifyLaunchTemplate", When::Before, &["update", &file]));
        assert_eq!(default(&rig), "1");
        let status = rig.launcher(["status", "web"]);
        assert!(!text(&status.stdout).contains("by hand"), "{}", text(&status.stdout));
        succeeded(rig.launcher(["update", &first, "--take-over"]));
        succeeded(rig.launcher(["create", &first]));
        succeeded(rig.launcher(["update", &file]));
        assert!(killed_at(&rig, &killer, "ModifyLaunchTemplate", When::Before, &["update", "--rollback", "web"]));
        succeeded(rig.launcher(["update", "--rollback", "web", "--take-over"]));
    });
    assert_eq!((default(&rig).as_str(), ports(&rig)), ("1", vec![Some(80)]));
}

#[test]
fn a_default_that_a_newer_elbow_made_is_not_replaced_by_an_older_one() {
    let rig = Rig::new();
    let [first, file] = files(&rig);
    let (_, revision) = boots(&rig);
    let mark = |version| format!("# Made by Elbow {version}\n");
    let newer = user_data(&rig, &mark(env!("CARGO_PKG_VERSION")), &mark("99.1.0"));
    let made = made_by_hand(&rig, &json!({"UserData": newer}), &revision);
    let template = crate::update::template(&rig);
    let tag = format!("Key=elbow:default,Value={made}:{revision}");
    rig.aws(&["ec2", "create-tags", "--resources", &template, "--tags", &tag]);
    let parts = ["it was made by Elbow 99.1.0", "use Elbow 99.1.0"];
    for command in [&["update", &file][..], &["update", &first], &["create", &first, "--dry-run"]] {
        refused(&rig, command, &parts);
    }
    // A version with a configuration that this Elbow can't read.
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
fn a_newer_image_behind_a_parameter_is_used_only_with_new_image() {
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
        said.contains(&format!("now resolves to {}, and nodes boot {}", images["plain"], images["main"])),
        "{said}"
    );
    let dry = update(&["--new-image", "--dry-run"]);
    for part in ["replace nodes, because of image", "launch a new node 1", "stop node 0"] {
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
