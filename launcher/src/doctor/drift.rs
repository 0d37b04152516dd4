//! What was changed of a running balancer's resources since Elbow made them: what `create` would correct. Pure.

use templates::files;

use super::case::Case;
use super::finding::{Finding, or_ok};
use super::ids::Id;
use crate::model::desired::Desired;
use crate::model::group_settings;
use crate::model::tags::Tags;
use crate::plan::{Action, plan};
use crate::preflight::changed_by_hand;

/// Compares the balancer that nodes boot with its resources. Nothing is said of a balancer that doesn't exist yet.
pub fn drift(case: &Case<'_>) -> Vec<Finding> {
    let Case { balancer, place, observed, .. } = case;
    let of_this = |tags: &Tags| tags.balancer() == Some(&balancer.name);
    let Some(template) = observed.template.as_ref().filter(|template| of_this(&template.tags)) else {
        return Vec::new();
    };
    let by_hand = changed_by_hand::unreadable(template).or_else(|| changed_by_hand::by_hand(template));
    if let Some(line) = by_hand {
        return vec![Finding::problem(Id::Drift, line, "until then `launcher create` refuses")];
    }
    let Some(running) = observed.config().map(|config| config.balancer) else { return Vec::new() };
    let Ok(user_data) = files::user_data_gzip(&running) else { return Vec::new() };
    let cidrs = place.vpc.as_ref().map(|vpc| vpc.cidrs.clone()).unwrap_or_default();
    let desired = Desired::of(&running, &place.region, &cidrs, &template.contents.image, &user_data);
    // What the launcher's own agents change, the running revision says.
    let desired = desired.with_store(&place.store.clone().filter(|store| store.agents == running.agents));
    let group = group_settings::problems(&running, observed).into_iter().map(|line| (line, "then run doctor again"));
    let actions = plan(&desired, observed);
    let rest = actions.iter().filter(|action| !is_groups(action)).map(|action| {
        let seen = format!("`launcher create` would {}", action.change(&desired).what);
        (seen, "run it with the balancer's file, or undo the change")
    });
    let findings = group.chain(rest).map(|(seen, remedy)| Finding::problem(Id::Drift, seen, remedy)).collect();
    or_ok(Id::Drift, findings, "everything that Elbow made is as it made it")
}

/// Whether it changes the Auto Scaling group, of which `group_settings` reports.
fn is_groups(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateScaling | Action::SetScaling(_) | Action::Pin | Action::SetHook(_) | Action::SuspendRebalance
    )
}
