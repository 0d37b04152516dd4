//! `bucket`: shows the bucket that holds the agents of this account and Region, and removes it with `--delete`.

use futures::future::try_join_all;
use serde::Serialize;
use serde_json::json;
use templates::balancer::AgentPlace;
use templates::{Balancer, names};

use super::consent::consent;
use crate::aws::{self, Aws};
use crate::cli::{Bucket as Arguments, Cli};
use crate::model::observe::observe;
use crate::output::failure::{Failure, looking};
use crate::output::{self, table::columns};
use crate::resources::bucket::{self, Bucket, Object};
use crate::resources::network;

/// A balancer with nodes that get the agent from the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct User {
    balancer: String,
    /// The keys of its agents; none if its configuration can't be read.
    keys: Vec<String>,
}

pub async fn run(cli: &Cli, args: &Arguments) -> Result<(), Failure> {
    let aws = aws::connect(&cli.account()).await?;
    let account = network::caller(&aws.sts).await.map_err(looking)?.account;
    let bucket = Bucket::of(&account, &aws.region);
    let Some(objects) = bucket::objects(&aws.s3, &bucket).await.map_err(looking)? else {
        let document = json!({"outcome": "absent", "bucket": bucket.name, "objects": [], "users": []});
        return output::result(cli.output, &document, &format!("there is no bucket {}", bucket.name));
    };
    let users = users(&aws, &bucket).await?;
    let mut document = json!({
        "outcome": "found", "bucket": bucket.name, "users": users,
        "objects": objects.iter().map(|Object { key, size }| json!({"key": key, "size": size})).collect::<Vec<_>>(),
    });
    if !args.delete {
        return output::result(cli.output, &document, &text(&bucket, &objects, &users));
    }
    let problems = in_the_way(&bucket, &objects, &users);
    if !problems.is_empty() {
        return Err(Failure::BadInput(problems));
    }
    if !args.yes {
        let question = format!("Delete bucket {} with {} objects?", bucket.name, objects.len());
        consent("bucket --delete", &question, &bucket.name).await?;
    }
    bucket::delete(&aws.s3, &bucket, &objects).await?;
    document["outcome"] = json!("deleted");
    output::result(cli.output, &document, &format!("bucket {} is deleted", bucket.name))
}

/// The balancers of the Region that use the bucket, or may.
async fn users(aws: &Aws, bucket: &Bucket) -> Result<Vec<User>, Failure> {
    let (balancers, unread) = super::list::find(aws).await;
    if let Some(error) = unread.into_iter().next() {
        return Err(looking(error));
    }
    let observed = try_join_all(balancers.keys().map(|name| observe(aws, name))).await.map_err(looking)?;
    let configs = observed.iter().map(|observed| observed.config().map(|config| config.balancer));
    let uses = balancers
        .keys()
        .zip(configs)
        .filter_map(|(name, config)| Some(User { balancer: name.clone(), keys: used(config.as_ref(), &bucket.name)? }));
    Ok(uses.collect())
}

/// The keys that a balancer's nodes read; none if they don't use the bucket.
fn used(config: Option<&Balancer>, bucket: &str) -> Option<Vec<String>> {
    match config.map(Balancer::agent_place) {
        // It may be created at this moment.
        None => Some(Vec::new()),
        Some(AgentPlace::Bucket(agents)) => Some(agents.values().map(|digest| names::agent_key(digest)).collect()),
        Some(AgentPlace::Object { bucket: other, key }) => (other == bucket).then(|| vec![key.to_owned()]),
        Some(AgentPlace::Url(_) | AgentPlace::Path(_)) => None,
    }
}

/// Why the bucket isn't deleted, if so.
fn in_the_way(bucket: &Bucket, objects: &[Object], users: &[User]) -> Vec<String> {
    let mut problems = Vec::new();
    if !users.is_empty() {
        let names: Vec<&str> = users.iter().map(|user| user.balancer.as_str()).collect();
        problems.push(format!(
            "bucket {}: new nodes of {} get their agent there: destroy these balancers first, or give them [agent] with a source",
            bucket.name,
            names.join(", ")
        ));
    }
    let foreign: Vec<&str> = objects.iter().map(|object| object.key.as_str()).filter(|key| !is_agent(key)).collect();
    if let Some(first) = foreign.first() {
        problems.push(format!(
            "bucket {} has {} objects that Elbow didn't put there, such as {first}: move them away first",
            bucket.name,
            foreign.len()
        ));
    }
    problems
}

fn is_agent(key: &str) -> bool {
    key.strip_prefix(names::AGENTS)
        .is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn text(bucket: &Bucket, objects: &[Object], users: &[User]) -> String {
    let mut rows = vec![["KEY", "MB", "USED BY"].map(str::to_owned).to_vec()];
    for Object { key, size } in objects {
        let of = users.iter().filter(|user| user.keys.contains(key)).map(|user| user.balancer.as_str());
        rows.push(vec![key.clone(), format!("{:.1}", *size as f64 / 1e6), of.collect::<Vec<_>>().join(", ")]);
    }
    let unknown = users.iter().filter(|user| user.keys.is_empty());
    let unknown = unknown.map(|user| format!("\n{} may use it: its configuration can't be read", user.balancer));
    format!("bucket {}\n{}{}", bucket.name, columns(&rows), unknown.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::agent_store::tests::balancer;
    use crate::model::desired::tests::web;

    fn bucket() -> Bucket {
        Bucket::of("123456789012", "eu-west-1")
    }

    #[test]
    fn a_balancer_uses_the_bucket_by_its_agents_or_by_its_source() {
        let name = bucket().name;
        let key = |digit: &str| names::agent_key(&digit.repeat(64));
        assert_eq!(used(Some(&balancer()), &name), Some(vec![key("a"), key("b")]));
        assert_eq!(used(Some(&web()), &name), None);
        let mut other = web();
        other.agent.as_mut().unwrap().source = format!("s3://{name}/agent/1");
        assert_eq!(used(Some(&other), &name), Some(vec!["agent/1".to_owned()]));
        other.agent.as_mut().unwrap().source = "s3://artifacts/agent/1".to_owned();
        assert_eq!(used(Some(&other), &name), None);
        assert_eq!(used(None, &name), Some(Vec::new()), "it may use it");
    }

    #[test]
    fn a_bucket_in_use_or_with_objects_of_others_stays() {
        let object = |key: &str| Object { key: key.to_owned(), size: 5_800_000 };
        let agent = object(&names::agent_key(&"a".repeat(64)));
        let user = User { balancer: "web".to_owned(), keys: vec![agent.key.clone()] };
        assert_eq!(in_the_way(&bucket(), std::slice::from_ref(&agent), &[]), [] as [&str; 0]);
        let objects = [agent, object("notes.txt")];
        let lines = in_the_way(&bucket(), &objects, std::slice::from_ref(&user));
        assert!(lines[0].starts_with("bucket elbow-123456789012-eu-west-1: new nodes of web get"), "{lines:?}");
        assert!(lines[1].contains("1 objects that Elbow didn't put there, such as notes.txt"), "{lines:?}");
        let shown = text(&bucket(), &objects, &[user]);
        assert!(shown.contains(&format!("agent/{}  5.8  web", "a".repeat(64))), "{shown}");
    }
}
