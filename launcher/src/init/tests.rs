use ipnet::Ipv4Net;

use super::seen::{Claim, TransitRoutes};
use super::*;
use crate::resources::gateways::Endpoint;
use crate::resources::network::Subnet;
use crate::resources::route_tables::Table;

fn wishes(targets: &[&str]) -> Wishes {
    Wishes {
        name: None,
        vpc: None,
        subnets: Vec::new(),
        virtual_ip: None,
        protocol: Protocol::Http,
        port: None,
        targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
        agent: None,
    }
}

/// A VPC with private subnets in two zones, and the balancer `web`.
fn region() -> Region {
    let cidr: Ipv4Net = "10.0.0.0/16".parse().unwrap();
    let vpc = |id: &str, cidrs| Vpc { id: id.into(), cidrs, owner: "111".into(), ..Vpc::default() };
    let subnet = |id: &str, zone: &str, net: &str| Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        zone: zone.into(),
        cidr: net.parse().ok(),
        free: 100,
        owner: Some("111".into()),
        ..Subnet::default()
    };
    Region {
        name: "eu-west-1".into(),
        account: "111".into(),
        vpcs: vec![vpc("vpc-1", vec![cidr]), vpc("vpc-2", vec![])],
        subnets: vec![subnet("subnet-1", "eu-west-1a", "10.0.1.0/24"), subnet("subnet-2", "eu-west-1b", "10.0.2.0/24")],
        balancers: ["web".to_owned()].into(),
        claims: vec![Claim { address: [10, 255, 0, 10].into(), balancer: "web".into(), vpc: "vpc-1".into() }],
    }
}

fn place() -> Place {
    Place { tables: vec![Table { id: "rtb-1".into(), is_main: true, ..Table::default() }], ..Place::default() }
}

fn chosen(wishes: &Wishes, place: &Place) -> Result<(Draft, Vec<String>), Vec<String>> {
    let region = region();
    let (vpc, _) = choose_vpc(wishes, &region)?;
    choose(wishes, &region, vpc, place)
}

#[test]
fn subnets_without_a_way_to_s3_are_named_if_the_agent_is_there() {
    let said = |place: &Place, agent: Option<&str>| {
        let agent = agent.map(|source| Agent { source: source.to_owned(), sha256: "a".repeat(64) });
        let (_, notes) = chosen(&Wishes { agent, ..wishes(&["10.0.1.20:80"]) }, place).unwrap();
        notes.into_iter().filter(|note| note.contains("S3")).collect::<Vec<_>>().join("\n")
    };
    let none = "no way to S3 was found from subnet-1 (rtb-1 has no default route) and from subnet-2 (rtb-1 has no default \
                route): add a gateway endpoint for s3, or nodes can't fetch the agent";
    assert_eq!(said(&place(), None), none);
    assert_eq!(said(&place(), Some("s3://bucket/agent")), none);
    assert_eq!(said(&place(), Some("https://example.com/agent")), "");
    let endpoint = Endpoint {
        id: "vpce-1".into(),
        service: "com.amazonaws.eu-west-1.s3".into(),
        tables: vec!["rtb-1".into()],
        ..Endpoint::default()
    };
    assert_eq!(said(&Place { endpoints: vec![endpoint], ..place() }, None), "");
}

#[test]
fn a_second_balancer_gets_its_own_name_and_virtual_ip() {
    let (draft, notes) = chosen(&wishes(&["10.0.1.20:8080"]), &place()).unwrap();
    assert_eq!((draft.name.as_str(), draft.vpc.as_str()), ("web-2", "vpc-1"));
    assert_eq!(draft.subnets, ["subnet-1", "subnet-2"]);
    assert_eq!((draft.virtual_ip.to_string().as_str(), draft.port), ("10.255.0.11", 80));
    assert!(notes.iter().any(|note| note == "not 10.255.0.10: it lies in balancer web"), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("[agent]")), "{notes:?}");
}

#[test]
fn what_is_given_is_kept() {
    let agent = Some(Agent { source: "https://example.com/agent".into(), sha256: "0".repeat(64) });
    let given = Wishes {
        name: Some("shop".into()),
        subnets: vec!["subnet-2".into(), "subnet-1".into()],
        virtual_ip: Some([192, 168, 9, 9].into()),
        port: Some(8080),
        agent,
        ..wishes(&[])
    };
    let (draft, notes) = chosen(&given, &place()).unwrap();
    assert_eq!((draft.name.as_str(), draft.port), ("shop", 8080));
    assert_eq!((draft.subnets.join(" ").as_str(), draft.virtual_ip), ("subnet-2 subnet-1", [192, 168, 9, 9].into()));
    assert!(notes.last().is_some_and(|note| note.starts_with("no target is given")), "{notes:?}");
}

#[test]
fn the_port_is_that_of_http_or_of_the_first_target() {
    let of = |protocol, given, targets: &[&str]| port(&Wishes { protocol, port: given, ..wishes(targets) });
    assert_eq!(of(Protocol::Http, None, &["10.0.1.20:8080"]), Ok(80));
    assert_eq!(of(Protocol::Http, Some(8000), &[]), Ok(8000));
    assert_eq!(of(Protocol::Tcp, None, &["10.0.1.30:5432"]), Ok(5432));
    assert_eq!(of(Protocol::Tcp, Some(6432), &["10.0.1.30:5432"]), Ok(6432));
    assert!(of(Protocol::Tcp, Some(6432), &[]).is_err());
}

#[test]
fn all_problems_are_named_at_once() {
    let wrong = Wishes {
        vpc: Some("vpc-1".into()),
        subnets: vec!["subnet-9".into()],
        virtual_ip: Some([10, 255, 0, 10].into()),
        protocol: Protocol::Tcp,
        ..wishes(&[])
    };
    let problems = chosen(&wrong, &place()).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, said) in
        problems.iter().zip(["subnet subnet-9 isn't in vpc-1", "taken by balancer web", "needs a target"])
    {
        assert!(problem.contains(said), "{problem}\nnot: {said}");
    }
}

#[test]
fn what_could_not_be_read_and_far_targets_are_noted() {
    let transit = TransitRoutes { routes: vec![], unread: vec!["the routes of tgw-1".into()] };
    let wishes = Wishes { vpc: Some("vpc-1".into()), ..wishes(&["10.8.0.1:80"]) };
    let (_, notes) = chosen(&wishes, &Place { transit, ..place() }).unwrap();
    assert!(notes.iter().any(|note| note.ends_with("may be in use there: the routes of tgw-1")), "{notes:?}");
    let region = region();
    let (_, notes) = choose_vpc(&wishes, &region).unwrap();
    assert!(notes[1].starts_with("target 10.8.0.1 is outside of vpc-1"), "{notes:?}");
}

#[test]
fn wrong_wishes_are_named_without_the_account() {
    let good = Wishes { port: Some(8080), ..wishes(&["10.0.1.20:80"]) };
    let agent = |source: &str, sha256: &str| Some(Agent { source: source.to_owned(), sha256: sha256.to_owned() });
    let subnets = ["subnet-0a", "subnet-0b"].map(str::to_owned).to_vec();
    for right in [
        wishes(&[]),
        good.clone(),
        Wishes { protocol: Protocol::Tcp, port: None, ..good.clone() },
        Wishes { name: Some("db".into()), vpc: Some("vpc-0a".into()), subnets: subnets.clone(), ..good.clone() },
        Wishes { virtual_ip: Some([10, 9, 9, 9].into()), agent: agent("https://a/b", &"a".repeat(64)), ..good.clone() },
    ] {
        assert_eq!(wrong(&right), [] as [String; 0], "{right:?}");
    }
    for (bad, key) in [
        (Wishes { name: Some("WEB_X".into()), ..good.clone() }, "name: \"WEB_X\" is not a valid name"),
        (Wishes { vpc: Some("foo".into()), ..good.clone() }, "vpc: \"foo\" is not an id"),
        (Wishes { subnets: vec!["x".into()], ..good.clone() }, "subnets: \"x\" is not an id"),
        (Wishes { subnets: subnets[..1].to_vec(), ..good.clone() }, "subnets: at least two are needed"),
        (Wishes { port: Some(9110), ..good.clone() }, "listener.port: "),
        (Wishes { virtual_ip: Some([10, 0, 1, 20].into()), ..good.clone() }, "listener.targets: "),
        (Wishes { agent: agent("https://a/b", "zz"), ..good.clone() }, "agent.sha256: "),
        (Wishes { protocol: Protocol::Tcp, targets: Vec::new(), ..good }, "--protocol tcp needs a target"),
    ] {
        let problems = wrong(&bad);
        assert!(problems.len() == 1 && problems[0].starts_with(key), "{problems:?}\nnot: {key}");
    }
}
