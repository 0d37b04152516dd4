//! The launcher with an API that is stale, throttles or denies, and launchers that are interrupted.

use std::time::Duration;

use lab::api::{Failing, Throttle};
use rustix::process::{Pid, Signal, kill_process};

use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, succeeded, text};
use crate::update::{changed, created, default, ports};

#[test]
fn stale_answers_create_nothing_twice() {
    let rig = Rig::new();
    let file = rig.web();
    rig.api.set_stale(Duration::from_millis(1500)).unwrap();
    rig.create(&file);
    rig.create(&file);
    rig.api.set_stale(Duration::ZERO).unwrap();
    assert_eq!(rig.nodes().len(), 2);
    rig.api.set_stale(Duration::from_millis(1500)).unwrap();
    rig.destroy();
    rig.api.set_stale(Duration::ZERO).unwrap();
    assert_eq!(rig.nodes(), []);
}

/// The launcher's reads show neither its new version nor its new rules.
#[test]
fn stale_answers_stop_no_update_and_no_rollback() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    rig.api.set_stale(Duration::from_millis(1500)).unwrap();
    with_obedient_nodes(&rig, || {
        succeeded(rig.launcher(["update".as_ref(), file.as_os_str()]));
        assert_eq!(ports(&rig), [Some(8080)]);
        succeeded(rig.launcher(["update", "--rollback", "web"]));
        assert_eq!(ports(&rig), [Some(80)]);
    });
    rig.api.set_stale(Duration::ZERO).unwrap();
    let made = rig.take_calls().into_iter().filter(|call| call.action == "CreateLaunchTemplateVersion");
    assert_eq!(made.count(), 1);
}

#[test]
fn throttled_calls_are_retried() {
    let rig = Rig::new();
    let file = rig.web();
    rig.api.proxy().set_throttle(Some(Throttle { burst: 1.0, refill: 1.0 }));
    rig.create(&file);
    assert_eq!(rig.nodes().len(), 2);
    let calls = rig.take_calls();
    assert!(calls.iter().any(|call| call.error.as_deref() == Some("RequestLimitExceeded")), "nothing was throttled");
    rig.destroy();
}

/// Other programs use up the account's rate limit for longer than the SDK retries.
#[test]
fn throttling_is_waited_out() {
    let rig = Rig::new();
    let file = rig.web();
    for action in ["RunInstances", "TerminateInstances"] {
        let code = "RequestLimitExceeded".to_owned();
        rig.api.proxy().set_failing(Failing { action: action.to_owned(), code, left: 8, zone: None });
        drop(if action == "RunInstances" { rig.create(&file) } else { rig.destroy() });
        let throttled = rig
            .take_calls()
            .into_iter()
            .filter(|call| call.action == action && call.error.as_deref() == Some("RequestLimitExceeded"));
        assert_eq!(throttled.count(), 8, "{action}");
    }
    assert_eq!(rig.nodes(), []);
}

fn fail(rig: &Rig, action: &str, code: &str, left: u32) {
    rig.api.proxy().set_failing(Failing { action: action.to_owned(), code: code.to_owned(), left, zone: None });
}

/// The request's tag and its removal meet another writer of the node's tags. A denied removal doesn't fail a handover
/// that succeeded.
#[test]
fn a_handover_waits_out_concurrent_writers_of_tags_and_outlives_a_denied_clean_up() {
    let rig = Rig::new();
    created(&rig);
    with_obedient_nodes(&rig, || {
        fail(&rig, "CreateTags", "ConcurrentTagAccess", 2);
        fail(&rig, "DeleteTags", "ConcurrentTagAccess", 2);
        rig.take_calls();
        succeeded(rig.launcher(["handover", "web", "--to", "1"]));
        let refused = rig.take_calls().into_iter().filter(|call| call.error.as_deref() == Some("ConcurrentTagAccess"));
        assert_eq!(refused.count(), 4);
        assert!(rig.nodes().iter().all(|node| !node.tags.contains_key("elbow:drain")));
        fail(&rig, "DeleteTags", "UnauthorizedOperation", 1);
        let said = text(&succeeded(rig.launcher(["handover", "web", "--to", "0"])).stderr);
        assert!(said.contains("warning: the request stays in the tag elbow:drain") && said.contains("ec2:DeleteTags"));
        assert_eq!(rig.nodes()[0].tags["elbow:role"], "active");
    });
}

/// The last code is that of an account's first group. It lasts longer than the SDK tries.
#[test]
fn create_waits_out_concurrent_writers_of_a_role_and_a_service_linked_role_that_is_not_ready() {
    let rig = Rig::new();
    fail(&rig, "PutRolePolicy", "ConcurrentModification", 2);
    fail(&rig, "CreateAutoScalingGroup", "ServiceLinkedRoleFailure", 7);
    rig.create(&rig.grouped());
    let calls = rig.take_calls();
    let failed = |code: &str| calls.iter().filter(|call| call.error.as_deref() == Some(code)).count();
    assert_eq!((failed("ConcurrentModification"), failed("ServiceLinkedRoleFailure")), (2, 7));
}

#[test]
fn an_update_waits_out_throttling_that_lasts_longer_than_the_sdk_tries() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    rig.take_calls();
    let actions = ["CreateLaunchTemplateVersion", "AuthorizeSecurityGroupIngress", "ModifyLaunchTemplate"];
    for action in actions {
        let code = "RequestLimitExceeded".to_owned();
        rig.api.proxy().set_failing(Failing { action: action.to_owned(), code, left: 8, zone: None });
    }
    with_obedient_nodes(&rig, || succeeded(rig.launcher(["update".as_ref(), file.as_os_str()])));
    let calls = rig.take_calls();
    for action in actions {
        let throttled = calls.iter().filter(|call| call.action == action && call.error.is_some());
        assert_eq!(throttled.count(), 8, "{action}");
    }
    assert_eq!(ports(&rig), [Some(8080)]);
}

#[test]
fn a_denied_call_is_named_and_create_resumes_after_it() {
    let rig = Rig::new();
    let file = rig.web();
    let (action, code) = ("RunInstances".to_owned(), "UnauthorizedOperation".to_owned());
    rig.api.proxy().set_failing(Failing { action, code, left: 2, zone: None });
    let output = rig.launcher(["create".as_ref(), file.as_os_str(), "--no-wait".as_ref()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("not allowed to call ec2:RunInstances") && said.contains("organization"), "{said}");
    assert!(said.contains("aws sts decode-authorization-message") && said.contains("bGFiIGZhaWw"), "{said}");
    rig.create(&file);
    assert_eq!(rig.nodes().len(), 2);
}

#[test]
fn an_image_that_is_not_shared_is_no_matter_of_credentials() {
    let rig = Rig::new();
    fail(&rig, "RunInstances", "AuthFailure", 2);
    let output = rig.launcher(["create".as_ref(), rig.web().as_os_str(), "--no-wait".as_ref()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("AuthFailure") && said.contains("share the image") && !said.contains("credentials"),
        "{said}"
    );
}

#[test]
fn an_interrupted_create_prints_how_to_resume() {
    let rig = Rig::new();
    let file = rig.web();
    let mut command = rig.command(["create".as_ref(), file.as_os_str()]);
    let child = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    crate::create::until("both nodes are launched", || rig.nodes().len() == 2);
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the same command again"), "{}", text(&output.stderr));
}

#[test]
fn an_update_that_is_interrupted_releases_its_lease() {
    let rig = Rig::new();
    created(&rig);
    let file = changed(&rig);
    let child = rig.command(["update".as_ref(), file.as_os_str()]).spawn().unwrap();
    crate::create::until("the standby has an order", || rig.nodes()[1].tags.contains_key("elbow:revision"));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    with_obedient_nodes(&rig, || succeeded(rig.launcher(["update".as_ref(), file.as_os_str()])));
    assert_eq!(default(&rig), "2");
}
