//! What people do to a balancer beside Elbow, with the AWS CLI.

/// The words that make a version of `elbow-web`'s launch template: version 1, and `data` (JSON) in its place.
pub fn version<'a>(description: &'a str, data: &'a str) -> [&'a str; 10] {
    [
        "ec2",
        "create-launch-template-version",
        "--launch-template-name",
        "elbow-web",
        "--source-version",
        "1",
        "--version-description",
        description,
        "--launch-template-data",
        data,
    ]
}
