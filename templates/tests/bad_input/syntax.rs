//! Text that isn't TOML: several places in one run.

use templates::Balancer;

use crate::{GOOD, refused};

#[test]
fn values_that_are_no_toml_in_several_places() {
    let text = GOOD.replacen("[\"10.255.0.10\"]", "[10.255.0.10]", 1).replacen("port = 80", "port = 8O", 1);
    let errors = Balancer::parse(&text.replacen("[agent]", "[failover]\npreempt = yes\n[agent]", 1)).unwrap_err();
    let lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "line 4: virtual_ips: not valid TOML; write a list of addresses, such as [\"10.255.0.10\"]",
            "line 7: failover.preempt: not valid TOML; write true or false",
            "line 14: listener.port: not valid TOML; write a number from 1 to 65535, without quotes",
        ]
    );
}

#[test]
fn what_follows_an_open_bracket_is_not_blamed() {
    let text = GOOD.replacen("\"subnet-0b\"]", "\"subnet-0b\"", 1).replacen("port = 80", "port = 8O", 1);
    let errors = Balancer::parse(&text).unwrap_err();
    assert_eq!(errors.0.iter().map(|error| error.line).collect::<Vec<_>>(), [Some(4)], "{errors}");
}

#[test]
fn a_key_that_may_be_an_address_is_not_shown() {
    let error = Balancer::parse(&GOOD.replacen("[agent]", "[agent]\nhttps://user:s3cret@h/a?b = 1", 1)).unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    refused("port = 80", "port = 80\nport = 81", "line 13: port: is defined twice; remove one of them");
}
