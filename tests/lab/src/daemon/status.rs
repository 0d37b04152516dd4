//! Builds the answer to `lab status` from the world and the lab's own state.

use std::time::Duration;

use templates::names::{TAG_BALANCER, TAG_MESSAGE, TAG_ROLE};

use super::protocol::{InstanceStatus, RouteStatus, Status};
use super::selector;
use crate::api::Faults;
use crate::world::{Instance, RouteState, RouteTable, World};

/// The status. `describe` gives an instance's state in the lab.
pub fn of(world: &World, vpc: &str, describe: impl Fn(&str) -> &'static str, faults: Vec<String>) -> Status {
    let live = world.instances.iter().filter(|i| !i.state.is_ending());
    let mut instances: Vec<InstanceStatus> = live.map(|i| instance(world, i, describe(&i.id))).collect();
    instances.sort_by_key(|i| (i.balancer.clone(), i.slot.clone(), i.id.clone()));
    let tables = world.route_tables.iter().filter(|table| table.vpc == vpc);
    let routes = tables.flat_map(|table| routes(world, table)).collect();
    Status { vpc: vpc.to_owned(), instances, routes, faults }
}

/// The faults that are set, one line each.
pub fn faults(api: &Faults, stale: Duration, partitions: Vec<String>) -> Vec<String> {
    let latency = (api.latency_ms > 0).then(|| format!("latency: {} ms", api.latency_ms));
    let hangs = api.hangs.then(|| "hang: the API doesn't answer for now".to_owned());
    let stale = (!stale.is_zero()).then(|| format!("stale: {} ms", stale.as_millis()));
    let throttle = api.throttle.map(|t| format!("throttle: burst {}, refill {} a second", t.burst, t.refill));
    let failing = api.failing.iter().map(|f| {
        let zone = f.zone.as_ref().map_or(String::new(), |zone| format!(" as in a disruption of {zone}"));
        format!("fail: the next {} of {} with {}{zone}", f.left, f.action, f.code)
    });
    latency.into_iter().chain(hangs).chain(stale).chain(throttle).chain(failing).chain(partitions).collect()
}

fn instance(world: &World, instance: &Instance, lab: &str) -> InstanceStatus {
    let tag = |key: &str| instance.tags.get(key).cloned();
    // The API's spelling: `shutting-down`.
    let api = serde_json::to_value(instance.state).ok().and_then(|state| state.as_str().map(str::to_owned));
    InstanceStatus {
        id: instance.id.clone(),
        balancer: tag(TAG_BALANCER),
        slot: selector::slot(world, instance),
        zone: instance.zone.clone(),
        address: instance.address,
        api: api.unwrap_or_default(),
        lab: lab.to_owned(),
        role: tag(TAG_ROLE),
        message: tag(TAG_MESSAGE),
    }
}

fn routes(world: &World, table: &RouteTable) -> impl Iterator<Item = RouteStatus> {
    let name = if table.main { Some("main".to_owned()) } else { table.tags.get("Name").cloned() };
    let to_interfaces = table.routes.iter().filter(|route| route.gateway.is_none());
    to_interfaces.map(move |route| RouteStatus {
        table: table.id.clone(),
        name: name.clone().unwrap_or_else(|| "-".to_owned()),
        destination: route.destination.to_string(),
        interface: route.interface.clone(),
        instance: route.interface.as_deref().and_then(|id| world.interface(id)?.instance.clone()),
        state: if route.state == RouteState::Active { "active" } else { "blackhole" }.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::api::{Failing, Throttle};

    use super::*;

    #[test]
    fn every_fault_has_a_line() {
        let failing =
            vec![Failing { action: "ReplaceRoute".into(), code: "InternalError".into(), left: 3, zone: None }];
        let api =
            Faults { latency_ms: 100, hangs: true, throttle: Some(Throttle { burst: 50.0, refill: 5.0 }), failing };
        let lines = faults(&api, Duration::from_millis(200), vec!["partition: i-1 | api".into()]);
        assert_eq!(
            lines,
            [
                "latency: 100 ms",
                "hang: the API doesn't answer for now",
                "stale: 200 ms",
                "throttle: burst 50, refill 5 a second",
                "fail: the next 3 of ReplaceRoute with InternalError",
                "partition: i-1 | api",
            ]
        );
        assert!(faults(&Faults::default(), Duration::ZERO, Vec::new()).is_empty());
    }
}
