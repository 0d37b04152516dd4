//! Computes which instances to start, stop and remove, so that the running ones match the API. Pure.

use std::collections::BTreeMap;

use crate::world::{InstanceState, World};

/// The power state that the API last ordered for an instance that runs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Started. `lab kill` may still have cut its power.
    On,
    /// Stopped through the API.
    Stopped,
}

/// A change to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Create it from its image and start it.
    Launch(String),
    /// Start it after a stop.
    Start(String),
    /// Shut it down and keep its disk.
    Stop(String),
    /// Switch it off and remove it.
    Remove(String),
}

/// The moves to make. Instances of another image or in another VPC exist in the API only.
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
    fn an_instance_is_launched_stopped_started_and_removed_as_the_api_says() {
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
    fn instances_of_other_images_exist_in_the_api_only() {
        assert_eq!(planned(&[("i-1", "running", "ami-others")], &[]), []);
    }
}
