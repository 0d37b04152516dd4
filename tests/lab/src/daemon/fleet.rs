//! Which instances have to be started, stopped and removed so that what runs here is what the API says exists.

use std::collections::BTreeMap;

use crate::world::{InstanceState, World};

/// What the lab knows of an instance that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It was started, and the API is the one to say when that ends. (It may be without power: `lab kill`.)
    On,
    /// The API had it stopped.
    Stopped,
}

/// A change to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Make it from its image, and start it.
    Launch(String),
    /// Start what was stopped.
    Start(String),
    /// Shut it down, keep its disk.
    Stop(String),
    /// Switch it off and remove it.
    Remove(String),
}

/// What has to be done. Instances with an image that isn't ours, or in another VPC, exist in the API alone.
pub fn moves(world: &World, vpc: &str, images: &[&str], held: &BTreeMap<String, Power>) -> Vec<Move> {
    let mut moves = Vec::new();
    for (id, power) in held {
        let state = world.instance(id).map_or(InstanceState::Terminated, |instance| instance.state);
        match (state, power) {
            (state, _) if state.is_ending() => moves.push(Move::Remove(id.clone())),
            (InstanceState::Stopping | InstanceState::Stopped, Power::On) => moves.push(Move::Stop(id.clone())),
            (state, Power::Stopped) if state.has_power() => moves.push(Move::Start(id.clone())),
            _ => {}
        }
    }
    for instance in world.instances.iter().filter(|i| i.state.has_power() && !held.contains_key(&i.id)) {
        if instance.vpc.as_deref() == Some(vpc) && images.contains(&instance.image.as_str()) {
            moves.push(Move::Launch(instance.id.clone()));
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn world(instances: &[(&str, &str, &str)]) -> World {
        let instance = |&(id, state, image): &(&str, &str, &str)| {
            json!({"id": id, "state": state, "type": "t3.small", "image": image, "subnet": "s", "vpc": "vpc-1",
                "address": "10.0.1.4", "interface": "eni-1", "mac": null, "role": null, "profile_arn": null,
                "user_data": null, "launched": "2026-01-02T03:04:05Z", "reservation": "r-1"})
        };
        let instances: Vec<_> = instances.iter().map(instance).collect();
        serde_json::from_value(json!({ "instances": instances })).unwrap()
    }

    fn planned(instances: &[(&str, &str, &str)], held: &[(&str, Power)]) -> Vec<Move> {
        let held = held.iter().map(|(id, power)| ((*id).to_owned(), *power)).collect();
        moves(&world(instances), "vpc-1", &["ami-ours"], &held)
    }

    #[test]
    fn an_instance_lives_as_the_api_says() {
        let launch = planned(&[("i-1", "pending", "ami-ours")], &[]);
        assert_eq!(launch, [Move::Launch("i-1".into())]);
        assert_eq!(planned(&[("i-1", "running", "ami-ours")], &[("i-1", Power::On)]), []);
        assert_eq!(planned(&[("i-1", "stopped", "ami-ours")], &[("i-1", Power::On)]), [Move::Stop("i-1".into())]);
        assert_eq!(planned(&[("i-1", "stopped", "ami-ours")], &[("i-1", Power::Stopped)]), []);
        assert_eq!(planned(&[("i-1", "pending", "ami-ours")], &[("i-1", Power::Stopped)]), [Move::Start("i-1".into())]);
        let remove = planned(&[("i-1", "shutting-down", "ami-ours")], &[("i-1", Power::Stopped)]);
        assert_eq!(remove, [Move::Remove("i-1".into())]);
    }

    #[test]
    fn what_the_api_forgot_is_removed() {
        assert_eq!(planned(&[], &[("i-1", Power::On)]), [Move::Remove("i-1".into())]);
    }

    #[test]
    fn an_instance_that_never_ran_is_not_launched_once_it_is_stopped_or_gone() {
        assert_eq!(planned(&[("i-1", "terminated", "ami-ours"), ("i-2", "stopped", "ami-ours")], &[]), []);
    }

    #[test]
    fn others_images_exist_in_the_api_alone() {
        assert_eq!(planned(&[("i-1", "running", "ami-others")], &[]), []);
    }
}
