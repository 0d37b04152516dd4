//! Finds the instance that a command-line word means: an ID, or a role for a balancer's virtual IP.

use anyhow::{Result, bail};
use templates::names::TAG_BALANCER;
use templates::{Slot, files};

use crate::world::{Instance, RouteState, World};

/// The instance that a word means: an ID, `active`, `standby`, `active:NAME`, `standby:NAME`. `has_power` returns
/// whether the lab has left an instance its power.
pub fn instance<'a>(word: &str, world: &'a World, vpc: &str, has_power: impl Fn(&str) -> bool) -> Result<&'a Instance> {
    let (role, name) = match word.split_once(':') {
        Some((role, name)) => (role, Some(name)),
        None => (word, None),
    };
    match role {
        "active" => {
            let name = balancer(world, name)?;
            let Some(found) = active(world, vpc, name) else {
                bail!("no active node: the main route table has no route to an instance of {name}");
            };
            Ok(found)
        }
        "standby" => {
            let name = balancer(world, name)?;
            let active = active(world, vpc, name).map(|i| i.id.as_str());
            let others = nodes(world, name).filter(|i| Some(i.id.as_str()) != active && has_power(&i.id));
            let Some(found) = others.min_by_key(|i| (i.state, slot(world, i), i.id.clone())) else {
                bail!("no standby node: {name} has no other instance with power");
            };
            Ok(found)
        }
        id => match world.instance(id).filter(|i| !i.state.is_ending()) {
            Some(found) => Ok(found),
            None => bail!("{id}: no such instance; give an instance ID, `active` or `standby`, see `lab status`"),
        },
    }
}

/// A node's slot: the index of its subnet in the configuration that its balancer's nodes boot with.
pub fn slot(world: &World, instance: &Instance) -> Option<String> {
    let mut described = nodes(world, instance.tags.get(TAG_BALANCER)?);
    let config = described.find_map(|node| files::read_back(node.user_data.as_deref()?).ok())?;
    Some(Slot::of(instance.subnet.as_deref()?, &config.balancer.subnets).to_string())
}

/// The given name, or the only balancer's name.
fn balancer<'a>(world: &'a World, name: Option<&'a str>) -> Result<&'a str> {
    if let Some(name) = name {
        return Ok(name);
    }
    let live = world.instances.iter().filter(|i| !i.state.is_ending());
    let mut names: Vec<&str> = live.filter_map(|i| i.tags.get(TAG_BALANCER)).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [name] => Ok(name),
        [] => bail!("no balancer exists; create one with `launcher create`"),
        several => bail!("several balancers exist; name one: active:{}", several.join(" or active:")),
    }
}

fn nodes<'a>(world: &'a World, name: &str) -> impl Iterator<Item = &'a Instance> {
    let live = world.instances.iter().filter(|i| !i.state.is_ending());
    live.filter(move |i| i.tags.get(TAG_BALANCER).is_some_and(|tag| tag == name))
}

fn active<'a>(world: &'a World, vpc: &str, name: &str) -> Option<&'a Instance> {
    let main = world.route_tables.iter().find(|table| table.main && table.vpc == vpc)?;
    let live = main.routes.iter().filter(|route| route.state == RouteState::Active);
    let mut interfaces = live.filter_map(|route| route.interface.as_deref());
    interfaces.find_map(|interface| nodes(world, name).find(|i| i.interface.as_deref() == Some(interface)))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;
    use templates::Balancer;

    use super::*;

    fn world() -> World {
        let described = include_str!("../../../../templates/goldens/small/balancer.toml");
        let described = files::user_data_gzip(&Balancer::parse(described).unwrap()).unwrap();
        let instance = |id: &str, state: &str, balancer: &str, subnet: &str, interface: &str| {
            json!({"id": id, "state": state, "type": "t3.small", "image": "ami-1", "subnet": subnet, "vpc": "vpc-1",
                "address": "10.0.1.4", "interface": interface, "mac": null, "role": null, "profile_arn": null,
                "user_data": STANDARD.encode(&described), "tags": {"elbow:balancer": balancer},
                "launched": "2026-01-02T03:04:05Z", "reservation": "r-1"})
        };
        let route = |to: &str, interface: &str| json!({"destination": to, "interface": interface, "gateway": null, "state": "active"});
        serde_json::from_value(json!({
            "route_tables": [{"id": "rtb-1", "vpc": "vpc-1", "main": true, "routes": [
                route("10.255.0.10/32", "eni-2"), route("10.255.0.11/32", "eni-5")]}],
            "instances": [
                instance("i-1", "terminated", "web", "subnet-0a", "eni-1"),
                instance("i-2", "running", "web", "subnet-0b", "eni-2"),
                instance("i-3", "running", "web", "subnet-0b", "eni-3"),
                instance("i-4", "running", "web", "subnet-0a", "eni-4"),
                instance("i-5", "running", "db", "subnet-0a", "eni-5")],
        }))
        .unwrap()
    }

    fn found(word: &str, dark: &str) -> String {
        match instance(word, &world(), "vpc-1", |id| id != dark) {
            Ok(instance) => instance.id.clone(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn active_is_the_instance_to_which_the_main_table_routes() {
        assert_eq!(found("active:web", ""), "i-2");
        assert_eq!(found("active:db", ""), "i-5");
        assert_eq!(found("active:web", "i-2"), "i-2");
    }

    #[test]
    fn a_slot_is_the_index_of_a_nodes_subnet() {
        let world = world();
        let slots: Vec<_> = world.instances.iter().map(|instance| slot(&world, instance)).collect();
        assert_eq!(slots[1..], ["1", "1", "0", "0"].map(|slot| Some(slot.to_owned())));
    }

    #[test]
    fn standby_is_the_first_other_with_power() {
        assert_eq!(found("standby:web", ""), "i-4");
        assert_eq!(found("standby:web", "i-4"), "i-3");
        assert!(found("standby:db", "").starts_with("no standby node"));
    }

    #[test]
    fn with_several_balancers_active_needs_a_name() {
        assert_eq!(found("active", ""), "several balancers exist; name one: active:db or active:web");
        assert!(found("active:mail", "").starts_with("no active node"));
    }

    #[test]
    fn a_terminated_instance_is_not_found() {
        assert_eq!(found("i-3", ""), "i-3");
        assert!(found("i-1", "").starts_with("i-1: no such instance"));
    }
}
