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
    /// The name of its root device.
    pub root_device: Option<String>,
    /// The size of its root volume in GiB.
    pub root_size: Option<i32>,
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

/// Why EC2 doesn't launch nodes from the image that the launch template pins, if so, and the remedy.
pub async fn unlaunchable(ec2: &Client, id: &str) -> Result<Option<String>, CallFailed> {
    Ok(trouble(id, find(ec2, id).await?.as_ref()))
}

fn trouble(id: &str, image: Option<&Image>) -> Option<String> {
    let what = match image {
        Some(Image { available: true, .. }) => return None,
        Some(_) => "isn't available",
        None => "was deregistered, or isn't shared with you any more",
    };
    Some(format!(
        "image {id}, which new nodes boot, {what}: run `launcher update` with --new-image, or with a file that names \
         another image"
    ))
}

/// The image of this id, if it exists and the caller may see it.
pub async fn find(ec2: &Client, id: &str) -> Result<Option<Image>, CallFailed> {
    // By id: a filter omits deprecated images, which still launch.
    let outcome = ec2.describe_images().image_ids(id).send().await.named("ec2:DescribeImages", id);
    let outcome = match outcome {
        Err(error) if error.code().is_some_and(|code| code.starts_with("InvalidAMIID.")) => return Ok(None),
        outcome => outcome?,
    };
    let root_size = |image: &aws_sdk_ec2::types::Image| {
        let mut devices = image.block_device_mappings().iter();
        devices.find(|device| device.device_name() == image.root_device_name())?.ebs()?.volume_size()
    };
    Ok(outcome.images().first().map(|image| Image {
        id: id.to_owned(),
        architecture: image.architecture().map(|kind| kind.as_str()).unwrap_or_default().to_owned(),
        available: image.state() == Some(&ImageState::Available),
        root_device: image.root_device_name().map(str::to_owned),
        root_size: root_size(image),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::mock::{ec2, ec2_error};

    /// EC2 knows a deregistered image for a while, and then answers with an empty list, or with an error (EC2 API
    /// reference, DescribeImages).
    #[tokio::test]
    async fn an_image_that_is_gone_is_named_with_the_remedy() {
        let output = |images| {
            aws_sdk_ec2::operation::describe_images::DescribeImagesOutput::builder().set_images(images).build()
        };
        let state = |state: ImageState| Some(vec![aws_sdk_ec2::types::Image::builder().state(state).build()]);
        for (images, says) in [
            (state(ImageState::Available), None),
            (state(ImageState::Deregistered), Some("isn't available")),
            (None, Some("was deregistered")),
        ] {
            let rule = aws_smithy_mocks::mock!(Client::describe_images).then_output(move || output(images.clone()));
            let said = unlaunchable(&ec2(&[&rule]), "ami-1").await.unwrap();
            match says {
                None => assert_eq!(said, None),
                Some(part) => assert!(said.is_some_and(|said| said.contains(part) && said.contains("--new-image"))),
            }
        }
        let unknown = || ec2_error(400, "InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist");
        let rule = aws_smithy_mocks::mock!(Client::describe_images).then_http_response(unknown);
        let said = unlaunchable(&ec2(&[&rule]), "ami-1").await.unwrap();
        assert!(said.is_some_and(|said| said.starts_with("image ami-1, which new nodes boot, was deregistered")));
    }
}
