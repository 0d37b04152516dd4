//! Each bad input has its line, and good input has none.

use templates::values::Image as Reference;

use super::*;
use crate::model::desired::tests::web;
use crate::model::discover::Existing;
use crate::model::observe::tests::whole;
use crate::model::tags::Tags;
use crate::resources::image::Image;
use crate::resources::instance_type::InstanceType;
use crate::resources::network::{Caller, Subnet, Vpc};
use crate::resources::route_tables::{Route, Table};

const ACCOUNT: &str = "123456789012";

pub(crate) fn place() -> Surroundings {
    let subnet = |id: &str, zone: &str, cidr: &str| Subnet {
        id: id.into(),
        vpc: "vpc-0a1b2c3d".into(),
        zone: zone.into(),
        cidr: cidr.parse().ok(),
        free: 200,
        owner: Some(ACCOUNT.into()),
        ..Subnet::default()
    };
    Surroundings {
        region: "eu-west-1".into(),
        caller: Caller { account: ACCOUNT.into(), arn: format!("arn:aws:iam::{ACCOUNT}:user/anna") },
        vpc: Some(Vpc {
            id: "vpc-0a1b2c3d".into(),
            cidrs: vec!["10.0.0.0/16".parse().unwrap()],
            owner: Some(ACCOUNT.into()),
        }),
        subnets: vec![
            subnet("subnet-0aaa", "eu-west-1a", "10.0.1.0/24"),
            subnet("subnet-0bbb", "eu-west-1b", "10.0.2.0/24"),
        ],
        tables: vec![table("rtb-1", None)],
        image_id: Some("ami-0a1b2c3d".into()),
        image: Some(Image {
            id: "ami-0a1b2c3d".into(),
            architecture: "x86_64".into(),
            available: true,
            root_device: Some("/dev/xvda".into()),
            root_size: Some(8),
        }),
        instance_type: Some(InstanceType {
            name: "t3.small".into(),
            shows_tags: true,
            architectures: vec!["x86_64".into()],
            zones: ["eu-west-1a", "eu-west-1b"].map(str::to_owned).into(),
        }),
        others: Vec::new(),
        existing: Existing::default(),
        store: None,
    }
}

fn table(id: &str, vip_target: Option<(&str, bool)>) -> Table {
    let route = |(target, blackhole): (&str, bool)| Route {
        destination: "10.255.0.10/32".into(),
        target: Some(target.into()),
        blackhole,
    };
    Table { id: id.into(), routes: vip_target.into_iter().map(route).collect(), ..Table::default() }
}

/// The single problem after a change of the file or its surroundings.
fn problem(change: impl FnOnce(&mut Balancer, &mut Surroundings, &mut Observed)) -> String {
    let (mut balancer, mut place, mut observed) = (web(), place(), Observed::default());
    change(&mut balancer, &mut place, &mut observed);
    let mut problems = problems(&balancer, &place, &observed);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = problems.remove(0);
    assert!(!problem.contains('\n'), "one line: {problem}");
    problem
}

#[track_caller]
fn says(problem: &str, words: &[&str]) {
    for word in words {
        assert!(problem.contains(word), "{problem:?} doesn't say {word:?}");
    }
}

#[test]
fn a_good_file_has_no_problem() {
    assert_eq!(problems(&web(), &place(), &Observed::default()), [] as [&str; 0]);
    assert_eq!(problems(&web(), &place(), &whole()), [] as [&str; 0]);
}

#[test]
fn a_vpc_must_exist_and_be_ones_own() {
    says(&problem(|_, place, _| place.vpc = None), &["vpc-0a1b2c3d doesn't exist"]);
    let shared = problem(|_, place, _| place.vpc.as_mut().unwrap().owner = Some("999999999999".into()));
    says(&shared, &["vpc-0a1b2c3d", "shared from account 999999999999"]);
}

#[test]
fn a_virtual_ip_lies_outside_the_vpc() {
    let inside = problem(|balancer, _, _| balancer.virtual_ips = vec!["10.0.7.7".parse().unwrap()]);
    says(&inside, &["10.0.7.7", "inside 10.0.0.0/16"]);
}

#[test]
fn subnets_exist_in_the_vpc_and_are_ones_own_in_two_zones() {
    says(&problem(|_, place, _| drop(place.subnets.remove(1))), &["subnet-0bbb doesn't exist"]);
    says(&problem(|_, place, _| place.subnets[1].vpc = "vpc-2".into()), &["subnet-0bbb is in vpc-2"]);
    says(&problem(|_, place, _| place.subnets[1].owner = Some("9".into())), &["subnet-0bbb is shared from account 9"]);
    says(&problem(|_, place, _| place.subnets[1].zone = "eu-west-1a".into()), &["all in eu-west-1a"]);
}

#[test]
fn an_image_and_a_type_exist_and_fit_each_other() {
    says(&problem(|_, place, _| place.image = None), &["image ami-0a1b2c3d doesn't exist"]);
    let parameter = problem(|balancer, place, _| {
        balancer.image = Reference::Parameter("/a/b".into());
        (place.image_id, place.image) = (None, None);
    });
    says(&parameter, &["resolve:ssm:/a/b", "no such parameter"]);
    let other = problem(|balancer, place, _| {
        balancer.image = Reference::Parameter("/a/b".into());
        (place.image_id, place.image) = (Some("hello".into()), None);
    });
    says(&other, &["parameter resolve:ssm:/a/b holds \"hello\", which isn't an image id"]);
    says(&problem(|_, place, _| place.instance_type = None), &["instance type t3.small doesn't exist"]);
    let xen = problem(|_, place, _| place.instance_type.as_mut().unwrap().shows_tags = false);
    says(&xen, &["t3.small", "Xen", "Nitro"]);
    let arm = problem(|_, place, _| place.image.as_mut().unwrap().architecture = "arm64".into());
    says(&arm, &["ami-0a1b2c3d is arm64", "t3.small"]);
    let zone = problem(|_, place, _| place.instance_type.as_mut().unwrap().zones = ["eu-west-1a".to_owned()].into());
    says(&zone, &["t3.small", "eu-west-1b"]);
}

#[test]
fn listed_route_tables_are_there_and_can_hold_the_route() {
    let listed = |id: &str| RouteTables::Only(vec![id.into()]);
    says(&problem(|balancer, _, _| balancer.route_tables = listed("rtb-9")), &["rtb-9 isn't in vpc-0a1b2c3d"]);
    let edge = problem(|balancer, place, _| {
        balancer.route_tables = listed("rtb-1");
        place.tables[0].gateways = vec!["igw-1".into()];
    });
    says(&edge, &["rtb-1", "gateway"]);
}

#[test]
fn a_route_that_leads_elsewhere_is_left_there() {
    let taken = problem(|_, place, _| place.tables[0] = table("rtb-1", Some(("eni-others", false))));
    says(&taken, &["10.255.0.10", "rtb-1", "eni-others"]);
    let mut place = place();
    place.tables = vec![table("rtb-1", Some(("eni-0", false))), table("rtb-2", Some(("eni-gone", true)))];
    assert_eq!(problems(&web(), &place, &whole()), [] as [&str; 0], "own and dead routes are no obstacle");
}

#[test]
fn an_untagged_namesake_is_an_error_that_names_it() {
    let group = problem(|_, _, observed| {
        observed.groups = vec![whole().groups.remove(0)];
        observed.groups[0].tags = Tags::default();
    });
    says(&group, &["security group elbow-web (sg-1)", "isn't Elbow's"]);
    let role = problem(|_, _, observed| {
        observed.role = whole().role;
        observed.role.as_mut().unwrap().tags = Tags::default();
    });
    says(&role, &["IAM role elbow-eu-west-1-web", "isn't Elbow's"]);
}

#[test]
fn an_untagged_group_of_the_name_in_another_vpc_is_ignored() {
    let mut observed = Observed { groups: whole().groups, ..Observed::default() };
    observed.groups[0].tags = Tags::default();
    observed.groups[0].vpc = "vpc-other".into();
    assert_eq!(problems(&web(), &place(), &observed), [] as [&str; 0]);
}

#[test]
fn a_name_that_another_vpcs_balancer_has_is_taken() {
    let taken = problem(|_, _, observed| {
        observed.groups = whole().groups;
        observed.groups[0].tags = Tags::of("web", "vpc-other");
        observed.groups[0].vpc = "vpc-other".into();
    });
    says(&taken, &["\"web\"", "vpc-other"]);
}

#[test]
fn another_revision_is_refused_and_says_what_differs() {
    let changed = problem(|balancer, _, observed| {
        *observed = whole();
        balancer.listeners[0].port = Some(8080);
    });
    says(&changed, &["differs in listener", "`launcher update`", &whole().template.unwrap().revision]);
}

#[test]
fn a_name_too_long_for_iam_in_this_region_is_refused() {
    let long = problem(|balancer, place, _| {
        balancer.name = "a-name-as-long-as-the-file-lets-one".into();
        place.region = "a-region-with-a-long-name-1".into();
    });
    says(&long, &["too long", "64"]);
}

#[test]
fn listed_route_tables_fit_in_the_policy_of_a_role() {
    let list = |count: usize| (0..count).map(|number| format!("rtb-{number:017x}")).collect::<Vec<_>>();
    let many = problem(|balancer, place, _| {
        place.tables = list(200).iter().map(|id| table(id, None)).collect();
        balancer.route_tables = RouteTables::Only(list(200));
    });
    says(&many, &["route_tables lists 200 tables", "10240"]);
    let (mut balancer, mut place) = (web(), place());
    place.tables = list(100).iter().map(|id| table(id, None)).collect();
    balancer.route_tables = RouteTables::Only(list(100));
    assert_eq!(problems(&balancer, &place, &Observed::default()), [] as [&str; 0]);
}

#[test]
fn a_virtual_ip_that_is_taken_is_one_line_in_however_many_tables() {
    let routed = |place: &mut Surroundings| {
        place.tables = (0..200).map(|n| table(&format!("rtb-{n}"), Some(("eni-other", false)))).collect();
    };
    let said = problem(|_, place, _| routed(place));
    assert!(said.contains("rtb-0 already sends 10.255.0.10/32 to eni-other, and so do 199 others"), "{said}");
    assert!(said.ends_with("delete those routes"), "{said}");
    let said = problem(|balancer, place, _| {
        routed(place);
        place.others = vec![crate::model::vip_claims::Claim {
            balancer: "shop".into(),
            virtual_ips: balancer.virtual_ips.clone(),
            route_tables: RouteTables::All,
            complete: true,
        }];
    });
    assert_eq!(
        said, "virtual IP 10.255.0.10 belongs to balancer shop: choose another",
        "its routes are nothing to delete"
    );
}
