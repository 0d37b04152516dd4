//! Durations in `[failover]` that are out of range.

use templates::Balancer;

use crate::{GOOD, refused};

#[test]
fn a_drain_timeout_above_an_hour() {
    let of = |value: &str| format!("[failover]\ndrain_timeout = \"{value}\"\n[agent]");
    let line = "line 7: failover.drain_timeout: 3601s is out of range; write at most 60m, or 0s for no wait";
    refused("[agent]", &of("3601s"), line);
    Balancer::parse(&GOOD.replace("[agent]", &of("0s"))).unwrap();
}

#[test]
fn a_route_check_below_two_seconds_or_above_five_minutes() {
    let of = |value: &str| format!("[failover]\nroute_check = \"{value}\"\n[agent]");
    for value in ["1999ms", "0s", "6m"] {
        let error = Balancer::parse(&GOOD.replace("[agent]", &of(value))).unwrap_err().to_string();
        assert!(
            error.contains("failover.route_check: ") && error.ends_with("is out of range; write 2s to 5m"),
            "{error}"
        );
    }
    let balancer = Balancer::parse(&GOOD.replace("[agent]", &of("2s"))).unwrap();
    assert_eq!(balancer.failover.route_check().to_string(), "2s");
    let default = Balancer::parse(GOOD).unwrap();
    assert!(default.failover.route_check().to_string() == "30s" && !default.canonical().contains("route_check"));
}

#[test]
fn a_replace_after_without_a_group_or_below_twenty_seconds() {
    let of = |value: &str| format!("[failover]\nreplace_after = \"{value}\"\n[agent]");
    let line = "line 7: failover.replace_after: only an Auto Scaling group replaces nodes; remove this key, or write launch = \
                \"auto-scaling\"";
    refused("[agent]", &of("60s"), line);
    let group =
        |value: &str| Balancer::parse(&format!("launch = \"auto-scaling\"\n{}", GOOD.replace("[agent]", &of(value))));
    for value in ["19s", "61m"] {
        let error = group(value).unwrap_err().to_string();
        assert!(
            error.contains("failover.replace_after: ") && error.ends_with("is out of range; write 20s to 60m"),
            "{error}"
        );
    }
    assert_eq!(group("20s").unwrap().failover.replace_after().to_string(), "20s");
    assert_eq!(Balancer::parse(GOOD).unwrap().failover.replace_after().to_string(), "60s");
}
