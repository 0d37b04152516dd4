//! Applies the virtual IPs of an in-place update while the elections go on.

use std::net::Ipv4Addr;

use templates::Balancer;

use super::{Elections, Event, Standing, Vip, VrrpState, hears_after, standstill};
use crate::host::loopback;
use crate::node::state::VirtualIp;
use crate::ownership::route_owner::RouteOwner;

impl Elections {
    /// Applies the virtual IPs of an update, before keepalived does. keepalived identifies its instances by position,
    /// so the term of a virtual IP that keeps its position goes on.
    pub(crate) async fn adopt(&mut self, balancer: &Balancer) -> anyhow::Result<()> {
        let mastered = loopback::mastered(balancer.virtual_ips.len()).await?;
        self.hears_after = hears_after(balancer);
        self.standstill = standstill(balancer);
        let route_owner = self.vips[0].route_owner.clone();
        self.vips.truncate(balancer.virtual_ips.len());
        let (before, mut moved) = (self.vips.len(), Vec::new());
        for (place, address) in balancer.virtual_ips.iter().enumerate() {
            let vip = Vip::new(RouteOwner { vip: *address, ..route_owner.clone() });
            match self.vips.get_mut(place) {
                Some(there) if there.route_owner.vip == *address => {}
                Some(there) => {
                    *there = Vip { heard_another: true, state: there.state, ..vip };
                    moved.push(place);
                }
                None => self.vips.push(vip),
            }
        }
        let mut left = Vec::new();
        self.board.change(|state| {
            left = leavers(&state.virtual_ips, &balancer.virtual_ips);
            state.virtual_ips = adopted(&state.virtual_ips, &balancer.virtual_ips);
            left.iter().for_each(|vip| state.routes_problem(*vip, None));
        });
        route_owner.recorder.adopt(&balancer.virtual_ips, &left);
        for place in moved.into_iter().filter(|place| *place < before && mastered.contains(place)) {
            self.on_event(Event { vip: place, state: VrrpState::Master }, Standing::Resumed);
        }
        Ok(())
    }
}

/// The state of each virtual IP after an update: the same if it keeps its position, else only the position's role.
fn adopted(before: &[VirtualIp], addresses: &[Ipv4Addr]) -> Vec<VirtualIp> {
    let one = |(place, address): (usize, &Ipv4Addr)| match before.get(place) {
        Some(there) if there.address == *address => there.clone(),
        Some(there) => VirtualIp { role: there.role, ..VirtualIp::unheard(*address) },
        None => VirtualIp::unheard(*address),
    };
    addresses.iter().enumerate().map(one).collect()
}

/// The virtual IPs that leave their positions: their terms end, and so do the problems with their routes.
fn leavers(before: &[VirtualIp], addresses: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
    let places = before.iter().enumerate();
    let left = places.filter(|(place, vip)| addresses.get(*place) != Some(&vip.address));
    left.map(|(_, vip)| vip.address).collect()
}

#[cfg(test)]
mod tests {
    use templates::Role;

    use super::*;

    #[test]
    fn a_virtual_ip_that_changes_its_position_leaves_like_a_removed_one() {
        let vip = |last| Ipv4Addr::new(10, 255, 0, last);
        let before = [1, 2, 3].map(|last| VirtualIp::unheard(vip(last)));
        assert_eq!(leavers(&before, &[vip(1), vip(3), vip(2), vip(4)]), [vip(2), vip(3)]);
        assert_eq!(leavers(&before, &[vip(1), vip(2)]), [vip(3)]);
        assert!(leavers(&before, &[vip(1), vip(2), vip(3), vip(4)]).is_empty());
    }

    #[test]
    fn a_virtual_ip_that_keeps_its_position_keeps_its_state() {
        let vip = |last| Ipv4Addr::new(10, 255, 0, last);
        let evidence = VirtualIp { role: Role::Active, settled: true, ..VirtualIp::unheard(vip(1)) };
        let before =
            [evidence.clone(), VirtualIp { role: Role::Standby, followed: true, ..VirtualIp::unheard(vip(2)) }];
        assert_eq!(adopted(&before, &[vip(1), vip(2), vip(3)])[..2], before);
        assert_eq!(adopted(&before, &[vip(1), vip(2), vip(3)])[2], VirtualIp::unheard(vip(3)));
        let moved = adopted(&before, &[vip(2)]);
        assert_eq!(moved, [VirtualIp { role: Role::Active, ..VirtualIp::unheard(vip(2)) }]);
    }
}
