//! A report reads back as written, whatever fits; other words do no harm.

use super::*;
use crate::report::LONGEST;

const SINCE: &str = "2026-11-29T14:03:12Z";

fn down(group: &str, target: &str, reason: &str) -> DownTarget {
    let (since, reason) = (SINCE.parse().unwrap(), reason.parse().unwrap());
    DownTarget { group: group.to_owned(), target: target.to_owned(), since, reason }
}

fn count(healthy: usize, targets: usize) -> Count {
    Count { healthy, targets }
}

fn read(values: &[String]) -> TargetReport {
    TargetReport::read(values.iter().map(String::as_str)).unwrap()
}

/// `groups` groups with `each` targets, of which `down` are down.
fn report(groups: usize, each: usize, down_of_each: usize) -> TargetReport {
    let name = |group: usize| format!("group-{group}");
    TargetReport {
        groups: (0..groups).map(|group| (name(group), count(each - down_of_each, each))).collect(),
        down: (0..groups)
            .flat_map(|group| (0..down_of_each).map(move |target| (group, target)))
            .map(|(group, target)| down(&name(group), &format!("10.0.{group}.{target}:8080"), "L4CON"))
            .collect(),
        ..TargetReport::default()
    }
}

#[test]
fn a_group_needs_no_more_targets_than_it_has_with_a_weight() {
    let needs = needs(&Balancer::parse(include_str!("../../goldens/big/balancer.toml")).unwrap());
    let shown: Vec<_> =
        needs.iter().map(|(name, needs)| (name.as_str(), needs.minimum_healthy, needs.check_port)).collect();
    let expected =
        [("api", 0, None), ("blue", 2, Some(8081)), ("green", 1, None), ("https", 1, None), ("postgres", 1, None)];
    assert_eq!(shown, expected);
}

#[test]
fn a_group_that_no_listener_forwards_to_needs_no_healthy_target() {
    let spare = "\n[[target_group]]\nname = \"spare\"\nprotocol = \"tcp\"\ntargets = [\"10.0.9.9:80\"]\n";
    let text = [include_str!("../../goldens/big/balancer.toml"), spare].concat();
    assert_eq!(needs(&Balancer::parse(&text).unwrap())["spare"].minimum_healthy, 0);
}

#[test]
fn the_words_are_as_documented() {
    let report = TargetReport {
        groups: [("api".to_owned(), count(3, 3)), ("web".to_owned(), count(1, 2))].into(),
        down: vec![down("web", "10.0.1.20:8080", "L7STS:503")],
        more_down: 3,
        more_groups: 2,
    };
    let values = report.values();
    assert_eq!(values, ["web=1/2 api=3/3 web/10.0.1.20:8080@2026-11-29T14:03:12Z=L7STS:503 +3 +2-groups"]);
    assert_eq!(read(&values), report);
    assert_eq!(TargetReport::default().values(), [] as [&str; 0]);
    assert_eq!(TargetReport::read([]), None);
}

#[test]
fn every_report_fits_eight_tags_and_reads_back() {
    for (groups, each, down_of_each) in [
        (1, 1, 0),
        (1, 1, 1),
        (1, 2, 1),
        (3, 9, 9),
        (10, 100, 1),
        (50, 20, 0),
        (50, 20, 20),
        (1, 1000, 1000),
        (400, 2, 1),
    ] {
        let report = report(groups, each, down_of_each);
        let values = report.values();
        assert!(values.len() <= TAG_TARGETS.len() && values.iter().all(|value| value.len() <= LONGEST), "{values:#?}");
        let back = read(&values);
        assert_eq!(back.groups.len() + back.more_groups, groups);
        assert_eq!(back.down.len() + back.more_down, groups * down_of_each);
        assert!(back.groups.iter().all(|(name, count)| report.groups[name] == *count));
        assert!(back.down.iter().all(|target| report.down.contains(target)));
        assert_eq!(back.values(), values, "{groups} groups of {each}");
    }
}

#[test]
fn a_thousand_targets_of_fifty_groups_are_counted_and_the_first_failures_named() {
    let back = read(&report(50, 20, 20).values());
    assert_eq!((back.groups.len(), back.more_groups), (50, 0));
    assert!(back.down.len() > 15, "{}", back.down.len());
}

#[test]
fn a_group_with_many_failures_leaves_room_for_the_others() {
    let mut report = report(1, 900, 900);
    report.groups.insert("web".to_owned(), count(1, 2));
    report.down.push(down("web", "10.0.1.20:8080", "L4TOUT"));
    assert!(read(&report.values()).down.iter().any(|target| target.group == "web"));
}

#[test]
fn healthy_groups_are_left_out_first() {
    let mut report = report(400, 2, 0);
    report.groups.insert("zzz".to_owned(), count(0, 2));
    let back = read(&report.values());
    assert_eq!(back.groups["zzz"], count(0, 2));
    assert!(back.more_groups > 0);
}

#[test]
fn words_that_are_not_readable_are_left_out() {
    for word in [
        "web",
        "web=",
        "web=1",
        "web=2/1",
        "web=-1/2",
        "web=1/99999999999999999999999",
        "=1/2",
        "w\u{1b}b=1/2",
        "+",
        "+x",
        "+-1",
        "web/@2026-11-29T14:03:12Z=L4CON",
        "/10.0.1.20:8080@2026-11-29T14:03:12Z=L4CON",
        "web/10.0.1.20:8080@noon=L4CON",
        "web/10.0.1.20:8080@2026-11-29T14:03:12Z=",
        "web/10.0.1.20:8080@2026-11-29T14:03:12Z=l4con",
        "web/a/b@2026-11-29T14:03:12Z=L4CON",
        "ä@ü=ö",
    ] {
        assert_eq!(TargetReport::read([word]), Some(TargetReport::default()), "{word:?}");
        let beside = format!("api=1/1 {word}");
        assert_eq!(TargetReport::read([beside.as_str()]).unwrap().groups.len(), 1, "{word:?}");
    }
    assert_eq!(TargetReport::read(["+1 +18446744073709551615"]).unwrap().more_down, usize::MAX);
}

/// A program may cut a value, or the API may show only some of the tags.
#[test]
fn cut_reports_are_read_as_far_as_they_go() {
    let report = report(7, 20, 3);
    let values = report.values();
    for value in &values {
        for end in 0..value.len() {
            let back = TargetReport::read([&value[..end]]).unwrap();
            assert!(back.groups.len() <= 7 && back.down.iter().all(|target| report.groups.contains_key(&target.group)));
        }
    }
    assert!(read(&values[1..]).down.len() < read(&values).down.len());
}
