//! The policy that `render operator-policy` prints is enough for the life of a balancer, and each of its statements is needed.
//! No node boots. Also: what an account prescribes ends up on AWS.

use std::path::Path;

use serde_json::{Value, json};

use crate::bucket::managed;
use crate::node;
use crate::obedient::with_obedient_nodes;
use crate::rig::{Rig, refused, succeeded, text};

const USER: &str = "least";

/// A user who may do what a policy allows.
struct Operator<'a> {
    rig: &'a Rig,
    id: String,
    secret: String,
}

impl Operator<'_> {
    fn new(rig: &Rig) -> Operator<'_> {
        rig.aws(&["iam", "create-user", "--user-name", USER]);
        let query = ["--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"];
        let key = rig.aws(&[&["iam", "create-access-key", "--user-name", USER][..], &query].concat());
        let (id, secret) = key.split_once('\t').expect("an id and a secret");
        Operator { rig, id: id.to_owned(), secret: secret.to_owned() }
    }

    /// Allows just these statements.
    fn may(&self, statements: &[&Value]) {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let user = ["iam", "put-user-policy", "--user-name", USER, "--policy-name", "least"];
        self.rig.aws(&[&user[..], &["--policy-document", &policy]].concat());
    }

    /// Runs the launcher; fails with its messages if a permission is missing, also one that it can do without.
    fn launcher(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.rig.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", &self.id).env("AWS_SECRET_ACCESS_KEY", &self.secret);
        let output = command.output().expect("the launcher starts");
        let said = text(&output.stdout) + &text(&output.stderr);
        // `create` tries its calls first, and says so in other words.
        let is_denied = ["not allowed to call", "you may not call"].iter().any(|words| said.contains(words));
        assert!(output.status.success() || is_denied, "{arguments:?}: {said}");
        if is_denied { Err(said) } else { Ok(()) }
    }

    /// The commands of a balancer's life, up to the first that fails.
    fn life(&self, [first, second]: [&Path; 2]) -> Result<(), String> {
        let [first, second] = [first, second].map(|file| file.to_str().expect("it is UTF-8"));
        self.launcher(&["init", "--target", "10.0.1.20:8080"])?;
        self.launcher(&["doctor", first])?;
        self.launcher(&["create", first, "--no-wait"])?;
        node::serve(self.rig);
        self.launcher(&["status", "web"])?;
        with_obedient_nodes(self.rig, || self.launcher(&["update", second]))?;
        self.launcher(&["destroy", "web", "--yes"])
    }
}

/// The statements of the file's policy.
fn statements(rig: &Rig, file: &Path) -> Vec<Value> {
    let printed = succeeded(rig.launcher(["render".as_ref(), "operator-policy".as_ref(), file.as_os_str()]));
    let mut policy: Value = serde_json::from_str(&text(&printed.stdout)).expect("JSON");
    let Value::Array(statements) = policy["Statement"].take() else { panic!("{policy}") };
    statements
}

/// The example's image by its parameter, and this text before `[agent]`.
fn by_parameter(rig: &Rig, text: &str) -> String {
    let image = format!("image = \"{}\"", rig.api.seed().images["main"]);
    let example = rig.example();
    assert!(example.contains(&image), "{example}");
    let example = example.replace(&image, "image = \"resolve:ssm:/aws/service/elbow-lab/debian-12\"");
    example.replace("[agent]", &format!("{text}\n[agent]"))
}

#[test]
fn a_policy_without_one_of_its_statements_is_not_enough() {
    let rig = Rig::new();
    let example = by_parameter(&rig, "launch = \"auto-scaling\"");
    let files =
        [rig.file("one.toml", &example), rig.file("two.toml", &example.replace("port = 80\n", "port = 8080\n"))];
    let files = [files[0].as_path(), files[1].as_path()];
    // `init` reads the routes of a transit gateway that is attached to the VPC.
    let seed = rig.api.seed();
    let gateway = value(&rig, "ec2 create-transit-gateway", "TransitGateway.TransitGatewayId");
    let attach = ["--transit-gateway-id", gateway.as_str().expect("an id"), "--vpc-id", &seed.vpc];
    let within = ["--subnet-ids", &seed.subnets["private-b"]];
    rig.aws(&[&["ec2", "create-transit-gateway-vpc-attachment"][..], &attach, &within].concat());
    let operator = Operator::new(&rig);
    let mut all = statements(&rig, files[0]);
    // It is needed for the first group of the account only.
    all.sort_by_key(|statement| statement["Sid"] != "FirstScalingGroup");
    assert_eq!(all[0]["Sid"], "FirstScalingGroup");
    assert!(all.len() > 12, "{all:?}");
    for without in &all {
        operator.may(&all.iter().filter(|statement| *statement != without).collect::<Vec<_>>());
        let outcome = operator.life(files);
        assert!(outcome.is_err(), "{} isn't needed", without["Sid"]);
        rig.destroy();
    }
    operator.may(&all.iter().collect::<Vec<_>>());
    assert_eq!(operator.life(files), Ok(()));
}

#[test]
fn the_bucket_needs_its_statement() {
    let rig = Rig::new();
    let file = managed(&rig, "managed.toml");
    let create = ["create", file.to_str().expect("it is UTF-8"), "--no-wait"];
    let operator = Operator::new(&rig);
    let all = statements(&rig, &file);
    let others: Vec<&Value> = all.iter().filter(|statement| statement["Sid"] != "KeepBucket").collect();
    assert_eq!(others.len(), all.len() - 1);
    operator.may(&others);
    assert!(operator.launcher(&create).is_err(), "KeepBucket isn't needed");
    operator.may(&all.iter().collect::<Vec<_>>());
    assert_eq!(operator.launcher(&create), Ok(()));
}

/// The value of a JMESPath expression over the answer to an AWS CLI command.
fn value(rig: &Rig, command: &str, query: &str) -> Value {
    let words: Vec<&str> = command.split(' ').chain(["--query", query, "--output", "json"]).collect();
    serde_json::from_str(&rig.aws(&words)).expect("JSON")
}

#[test]
fn what_an_account_prescribes_is_on_everything_and_tags_change_in_place() {
    let rig = Rig::new();
    let before = rig.surroundings();
    let vpc = &rig.api.seed().vpc;
    let made = ["ec2", "create-security-group", "--group-name", "shared", "--description", "shared", "--vpc-id", vpc];
    let shared = rig.aws(&[&made[..], &["--query", "GroupId", "--output", "text"]].concat());
    let prescribed = format!(
        "[tags]\nTeam = \"web\"\nCostCenter = \"4711\"\n[iam]\npath = \"/elbow/\"\npermissions_boundary = \
         \"arn:aws:iam::{}:policy/Boundary\"\n[volume]\nsize = 20\n[node]\nsecurity_groups = [\"{shared}\"]",
        rig.api.seed().account
    );
    let example = by_parameter(&rig, &prescribed);
    let other = example.replace("CostCenter = \"4711\"\n", "").replace("Team = \"web\"", "Team = \"api\"");
    let files = [rig.file("one.toml", &example), rig.file("two.toml", &other)];
    let [one, two] = [&files[0], &files[1]].map(|file| file.to_str().expect("it is UTF-8"));
    let operator = Operator::new(&rig);
    operator.may(&statements(&rig, &files[0]).iter().collect::<Vec<_>>());
    assert_eq!(operator.launcher(&["create", one, "--no-wait"]), Ok(()));
    node::serve(&rig);

    let role = "iam get-role --role-name elbow-eu-west-1-web";
    assert_eq!(value(&rig, role, "Role.Path"), "/elbow/");
    let boundary = value(&rig, role, "Role.PermissionsBoundary.PermissionsBoundaryArn");
    assert!(boundary.as_str().is_some_and(|arn| arn.ends_with(":policy/Boundary")), "{boundary}");
    let version = "ec2 describe-launch-template-versions --launch-template-name elbow-web --versions $Default";
    let data = value(&rig, version, "LaunchTemplateVersions[0].LaunchTemplateData");
    assert_eq!(data["SecurityGroupIds"][1], shared.as_str());
    let root = &data["BlockDeviceMappings"][0];
    assert_eq!((&root["DeviceName"], &root["Ebs"]["VolumeSize"]), (&json!("/dev/xvda"), &json!(20)));
    let tags = |node: &lab::world::Instance| ["Team", "CostCenter"].map(|key| node.tags.get(key).cloned());
    assert_eq!(tags(&rig.nodes()[0]), [Some("web".to_owned()), Some("4711".to_owned())]);

    for arguments in [&["update", two][..], &["handover", "web", "--to", "1"]] {
        assert_eq!(with_obedient_nodes(&rig, || operator.launcher(arguments)), Ok(()));
    }
    let changed = rig.nodes();
    assert!(changed.iter().all(|node| tags(node) == [Some("api".to_owned()), None]), "{changed:?}");
    let of_role = value(&rig, "iam list-role-tags --role-name elbow-eu-west-1-web", "Tags[].Key");
    assert!(of_role.as_array().is_some_and(|keys| keys.contains(&json!("Team")) && keys.len() == 3), "{of_role}");
    assert_eq!(operator.launcher(&["status", "web"]), Ok(()));

    // Another program removes a tag: `status` shows it, and `create` sets it again.
    let template = value(&rig, "ec2 describe-launch-templates", "LaunchTemplates[?LaunchTemplateName=='elbow-web']");
    let template = template[0]["LaunchTemplateId"].as_str().expect("an id").to_owned();
    rig.aws(&["ec2", "delete-tags", "--resources", &template, "--tags", "Key=Team"]);
    let said = text(&rig.launcher(["status", "web"]).stdout);
    assert!(said.contains(&format!("tags are missing or changed (launch template {template}: Team=api)")), "{said}");
    assert_eq!(operator.launcher(&["create", two, "--no-wait"]), Ok(()));
    assert_eq!(operator.launcher(&["destroy", "web", "--yes"]), Ok(()));
    rig.aws(&["ec2", "delete-security-group", "--group-id", &shared]);
    assert_eq!(rig.surroundings(), before);
}

#[test]
fn an_existing_profile_is_used_and_left_alone() {
    let rig = Rig::new();
    let file = rig.file("existing.toml", &by_parameter(&rig, "[iam]\ninstance_profile = \"nodes\"\nrole = \"nodes\""));
    let print =
        |what: &str| text(&succeeded(rig.launcher(["render".as_ref(), what.as_ref(), file.as_os_str()])).stdout);
    let (trust, policy) = (print("trust-policy"), print("policy"));
    refused(
        &rig,
        &["create", file.to_str().expect("it is UTF-8"), "--no-wait"],
        &["instance profile nodes doesn't exist", "IAM role nodes doesn't exist"],
    );
    rig.aws(&["iam", "create-role", "--role-name", "nodes", "--assume-role-policy-document", &trust]);
    let put = ["iam", "put-role-policy", "--role-name", "nodes", "--policy-name", "elbow"];
    rig.aws(&[&put[..], &["--policy-document", &policy]].concat());
    rig.aws(&["iam", "create-instance-profile", "--instance-profile-name", "nodes"]);
    let add = ["iam", "add-role-to-instance-profile", "--instance-profile-name", "nodes", "--role-name", "nodes"];
    rig.aws(&add);
    let second =
        rig.file("second.toml", &std::fs::read_to_string(&file).unwrap().replace("port = 80\n", "port = 8080\n"));
    let operator = Operator::new(&rig);
    operator.may(&statements(&rig, &file).iter().collect::<Vec<_>>());
    // The nodes' stand-ins act with the existing role's rights.
    assert_eq!(operator.life([&file, &second]), Ok(()));
    let profile =
        value(&rig, "iam get-instance-profile --instance-profile-name nodes", "InstanceProfile.Roles[].RoleName");
    assert_eq!(profile, json!(["nodes"]));
    let roles = value(&rig, "iam list-roles", "Roles[].RoleName");
    assert!(!roles.to_string().contains("elbow-"), "{roles}");
}
