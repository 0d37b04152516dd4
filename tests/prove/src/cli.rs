//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measure on AWS what Elbow depends on: makes a VPC and some instances, prints the answers, and removes everything.
///
/// The answers are written to a folder as JSON and Markdown. Exit code: 0 if all experiments ran and nothing is left, 1 if
/// they ended early and nothing is left, 2 without consent, 4 if something is left.
#[derive(Debug, Parser)]
#[command(name = "prove")]
pub struct Cli {
    /// Don't ask for consent
    #[arg(long)]
    pub yes: bool,
    /// Remove what a run left, by the run's id, and do nothing else
    #[arg(long, value_name = "RUN-ID")]
    pub clean: Option<String>,
    /// Address from which nodes can fetch the agent; without it, no balancer is created
    #[arg(long, value_name = "URL", requires = "agent_sha256")]
    pub agent_url: Option<String>,
    /// The agent's SHA-256
    #[arg(long, value_name = "HEX", requires = "agent_url")]
    pub agent_sha256: Option<String>,
    /// Folder for the answers
    #[arg(long, default_value = "target/aws-evidence")]
    pub out: PathBuf,
    /// Use this VPC instead of making one
    #[arg(long, requires = "subnets")]
    pub vpc: Option<String>,
    /// Two subnets of that VPC, in two availability zones
    #[arg(long, requires = "vpc", value_delimiter = ',')]
    pub subnets: Vec<String>,
    /// Image of a system instead of the vendor's newest, such as debian=ami-0a1b (al2023, ubuntu, debian)
    #[arg(long = "image", value_name = "SYSTEM=IMAGE", value_parser = image)]
    pub images: Vec<(String, String)>,
}

fn image(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(system, _)| ["al2023", "ubuntu", "debian"].contains(system));
    let (system, image) = pair.ok_or("write al2023=, ubuntu= or debian= and an image")?;
    Ok((system.to_owned(), image.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn images_are_named_by_their_system() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["prove", "--image", "debian=ami-1", "--vpc", "vpc-1", "--subnets", "s-1,s-2"]);
        let cli = cli.unwrap();
        assert_eq!(cli.images, [("debian".to_owned(), "ami-1".to_owned())]);
        assert_eq!(cli.subnets, ["s-1", "s-2"]);
        for wrong in [["--image", "suse=ami-1"], ["--agent-url", "https://x"], ["--vpc", "vpc-1"]] {
            assert!(Cli::try_parse_from(["prove", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
    }
}
