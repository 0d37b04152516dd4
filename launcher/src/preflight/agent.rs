//! Checks that nodes of a balancer without `[agent]` can get theirs from Elbow's bucket. Pure.

use templates::Balancer;
use templates::balancer::Architecture;

use crate::model::agent_store::Contents;
use crate::model::discover::Surroundings;

/// Every problem of the agent and its bucket.
pub fn problems(balancer: &Balancer, place: &Surroundings) -> Vec<String> {
    let Some(store) = &place.store else { return Vec::new() };
    let (bucket, folder) = (&store.bucket.name, store.folder.display());
    let mut problems = Vec::new();
    if let Contents::Denied(why) = &store.contents {
        problems.push(format!(
            "bucket {bucket}: you may not call s3:ListBucket, or another account has it ({why}): add s3:ListBucket to your IAM \
             policy; if another account has the bucket, write [agent] with a source"
        ));
    }
    let Some(image) = &place.image else { return problems };
    let nodes = format!("image {} is {}, for instance type {}", image.id, image.architecture, balancer.instance_type);
    let Some(architecture) = store.architecture else {
        let kinds = "Elbow has agents for x86_64 and arm64 only";
        problems.push(format!("{nodes}, and {kinds}: name another image"));
        return problems;
    };
    let Some(digest) = store.wanted() else {
        let others: Vec<String> = balancer.agents.keys().map(Architecture::to_string).collect();
        problems.push(format!(
            "{nodes}, and the launcher has only the agent for {}: put agent-{architecture} into {folder}, name an image and a \
             type of that architecture, or write [agent] with a source",
            others.join(" and ")
        ));
        return problems;
    };
    if matches!(store.contents, Contents::Absent | Contents::Keys(_)) && !store.has_wanted() && store.file().is_none() {
        problems.push(format!(
            "the agent for {architecture} with SHA-256 {digest} is neither in bucket {bucket} nor in {folder}: use the launcher \
             of its release, or `launcher update` with the balancer's file, which takes the agents of this launcher"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use templates::balancer::Agents;
    use templates::names;

    use super::*;
    use crate::model::agent_store::AgentStore;
    use crate::model::agent_store::tests::{balancer, store};
    use crate::preflight::tests::place;
    use crate::resources::image::Image;

    fn said(change: impl FnOnce(&mut Balancer, &mut AgentStore)) -> Vec<String> {
        let (mut balancer, mut store) = (balancer(), store());
        change(&mut balancer, &mut store);
        problems(&balancer, &Surroundings { store: Some(store), ..place() })
    }

    #[test]
    fn an_agent_beside_the_launcher_or_in_the_bucket_is_enough() {
        assert_eq!(said(|_, _| ()), [] as [&str; 0]);
        let in_bucket = said(|_, store| {
            store.local.clear();
            store.contents = Contents::Keys(vec![names::agent_key(&"a".repeat(64))]);
        });
        assert_eq!(in_bucket, [] as [&str; 0]);
        assert_eq!(problems(&balancer(), &place()), [] as [&str; 0]);
    }

    #[test]
    fn an_absent_agent_is_named_with_its_file_and_folder() {
        let nowhere = said(|_, store| store.local.clear());
        let line = format!(
            "the agent for x86_64 with SHA-256 {} is neither in bucket elbow-123456789012-eu-west-1 nor in /opt/elbow",
            "a".repeat(64)
        );
        assert!(nowhere.len() == 1 && nowhere[0].starts_with(&line), "{nowhere:?}");
    }

    #[test]
    fn an_image_without_an_agent_is_named_with_type_agent_and_remedy() {
        let (mut balancer, mut store) = (balancer(), store());
        balancer.agents = Agents::from([(Architecture::X86_64, "a".repeat(64))]);
        balancer.instance_type = "t4g.small".to_owned();
        store.agents = balancer.agents.clone();
        store.architecture = Some(Architecture::Aarch64);
        let image = Image { architecture: "arm64".to_owned(), ..place().image.unwrap() };
        let surroundings = Surroundings { store: Some(store.clone()), image: Some(image.clone()), ..place() };
        assert_eq!(
            problems(&balancer, &surroundings),
            [
                "image ami-0a1b2c3d is arm64, for instance type t4g.small, and the launcher has only the agent for x86_64: put \
              agent-aarch64 into /opt/elbow, name an image and a type of that architecture, or write [agent] with a source"
            ]
        );
        store.architecture = None;
        let image = Image { architecture: "i386".to_owned(), ..image };
        let lines = problems(&balancer, &Surroundings { store: Some(store), image: Some(image), ..place() });
        assert!(lines.len() == 1 && lines[0].contains("is i386, for instance type t4g.small"), "{lines:?}");
    }

    #[test]
    fn a_bucket_that_may_be_another_accounts_is_refused() {
        let lines = said(|_, store| store.contents = Contents::Denied("Access Denied".to_owned()));
        let line = "bucket elbow-123456789012-eu-west-1: you may not call s3:ListBucket, or another account has it (Access Denied)";
        assert!(lines.len() == 1 && lines[0].starts_with(line), "{lines:?}");
    }
}
