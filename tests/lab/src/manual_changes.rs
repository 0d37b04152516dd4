//! AWS CLI commands that change a balancer without Elbow.

/// The arguments that create a version of `elbow-web`'s launch template: version 1, changed by `data` (JSON).
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
