//! Finds the machine image by id or by SSM parameter.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::ImageState;
use templates::values::Image as Reference;

use crate::aws::error::{CallFailed, Named, found};

/// A machine image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `ami-…`
    pub id: String,
    /// `x86_64` or `arm64`
    pub architecture: String,
    /// Whether it can be launched now.
    pub available: bool,
}

/// The image's id, or what else its parameter holds; none if the parameter or its version doesn't exist.
pub async fn resolve(ssm: &aws_sdk_ssm::Client, reference: &Reference) -> Result<Option<String>, CallFailed> {
    let path = match reference {
        Reference::Id(id) => return Ok(Some(id.clone())),
        Reference::Parameter(path) => path,
    };
    let output = match found(ssm.get_parameter().name(path).send().await.named("ssm:GetParameter", path)) {
        // An invalid parameter name.
        Err(error) if error.is("ValidationException") => None,
        output => output?,
    };
    Ok(output.and_then(|output| output.parameter).and_then(|parameter| parameter.value))
}

/// The image of this id, if it exists and the caller may see it.
pub async fn find(ec2: &Client, id: &str) -> Result<Option<Image>, CallFailed> {
    // By id: a filter omits deprecated images, which still launch.
    let outcome = ec2.describe_images().image_ids(id).send().await.named("ec2:DescribeImages", id);
    let outcome = match outcome {
        Err(error) if error.code().is_some_and(|code| code.starts_with("InvalidAMIID.")) => return Ok(None),
        outcome => outcome?,
    };
    Ok(outcome.images().first().map(|image| Image {
        id: id.to_owned(),
        architecture: image.architecture().map(|kind| kind.as_str()).unwrap_or_default().to_owned(),
        available: image.state() == Some(&ImageState::Available),
    }))
}
