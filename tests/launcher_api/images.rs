//! The image that the launch template pins was deregistered, and the file's parameter names another: `create` and `status`
//! name it with the remedy.

use std::path::PathBuf;

use crate::node;
use crate::rig::{Rig, refused, text};

/// Creates a balancer of this file's text, by a parameter as its image. Then the parameter names another image, and the
/// first one is deregistered. Returns the file, and what the launcher is to say.
fn deregistered(rig: &Rig, text: &str) -> (PathBuf, String) {
    let images = &rig.api.seed().images;
    let name = |image: &str| {
        let parameter = ["--name", "/golden", "--type", "String", "--value", image];
        rig.aws(&[&["ssm", "put-parameter", "--overwrite"][..], &parameter].concat());
    };
    name(&images["main"]);
    let file = rig.file("golden.toml", &text.replace(&images["main"], "resolve:ssm:/golden"));
    rig.create(&file);
    node::serve(rig);
    name(&images["plain"]);
    rig.aws(&["ec2", "deregister-image", "--image-id", &images["main"]]);
    (file, format!("image {}, which new nodes boot, was deregistered", images["main"]))
}

#[test]
fn create_warns_of_a_deregistered_image_and_launches_no_node_from_it() {
    let rig = Rig::new();
    let (file, gone) = deregistered(&rig, &rig.example());
    let warned = text(&rig.create(&file).stderr);
    assert!(warned.contains(&gone) && warned.contains("--new-image"), "{warned}");
    rig.aws(&["ec2", "terminate-instances", "--instance-ids", &rig.nodes()[1].id]);
    refused(&rig, &["create", file.to_str().unwrap(), "--no-wait"], &[&gone, "--new-image"]);
}

#[test]
fn status_shows_a_deregistered_image_and_the_failed_launch_of_a_group() {
    let rig = Rig::new();
    let (_, gone) = deregistered(&rig, &format!("launch = \"auto-scaling\"\n{}", rig.example()));
    let status = || text(&rig.launcher(["status", "web"]).stdout);
    let shown = status();
    assert!(shown.contains(&gone) && shown.contains("--new-image") && !shown.contains("couldn't launch"), "{shown}");
    rig.aws(&["ec2", "terminate-instances", "--instance-ids", &rig.nodes()[1].id]);
    let failed = "Auto Scaling group elbow-web couldn't launch: The image id";
    crate::create::until("status shows the failed launch", || status().contains(failed));
}
