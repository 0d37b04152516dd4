//! Two launchers run at once.

use std::process::Stdio;

use crate::rig::{Rig, mutating, succeeded};

#[test]
fn two_creates_at_once_make_one_balancer() {
    let rig = Rig::new();
    let file = rig.web();
    for round in 0..5 {
        let pair = [(), ()].map(|()| {
            let mut command = rig.command(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for child in pair {
            succeeded(child.wait_with_output().unwrap());
        }
        assert_eq!(rig.nodes().len(), 2, "round {round}");
        rig.take_calls();
        rig.create(&file);
        assert_eq!(mutating(&rig.take_calls()), [] as [&str; 0], "round {round}: the third create changed something");
        rig.destroy();
    }
}
