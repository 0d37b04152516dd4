//! `doctor`: checks whether a balancer is configured right, before it is created by its file, and after by its name.

use std::path::Path;
use std::time::{Duration, Instant};

use templates::Balancer;

use crate::aws::error::{CallFailed, Reason};
use crate::aws::{self, Aws, retry::pause};
use crate::cli::{Cli, Doctor};
use crate::commands::status;
use crate::doctor::facts::Facts;
use crate::doctor::report::{self, Oks, has_problem};
use crate::doctor::{Case, Finding, Id, examine, read};
use crate::model::balancer_file::read_balancer;
use crate::model::discover::{Surroundings, discover};
use crate::model::observe::{Observed, glance, observe};
use crate::output::failure::{Failure, check_name};
use crate::output::{self, progress::Progress};
use crate::preflight::changed_by_hand;

/// The pause between two looks with `--wait`.
const AGAIN: Duration = Duration::from_secs(5);

/// What to check.
enum Subject {
    /// The balancer of a file.
    File(Box<Balancer>),
    /// The balancer of this name, by what its nodes boot.
    Name(String),
}

impl Subject {
    /// A file if it exists or ends in `.toml`, otherwise a name.
    fn of(argument: &Path) -> Result<Subject, Failure> {
        if argument.exists() || argument.extension().is_some_and(|extension| extension == "toml") {
            return Ok(Subject::File(Box::new(read_balancer(argument)?)));
        }
        let name = argument.to_string_lossy().into_owned();
        check_name(&name)?;
        Ok(Subject::Name(name))
    }

    fn name(&self) -> &str {
        match self {
            Subject::File(balancer) => &balancer.name,
            Subject::Name(name) => name,
        }
    }
}

/// Prints the findings, and fails if one is a problem.
pub async fn run(cli: &Cli, args: &Doctor) -> Result<(), Failure> {
    let subject = Subject::of(&args.subject)?;
    let aws = aws::connect(&cli.account()).await?;
    let (began, progress) = (Instant::now(), Progress::new());
    let findings = loop {
        let findings = look(&aws, &subject).await?;
        let is_over = args.wait.is_none_or(|wait| began.elapsed() >= wait);
        if is_over || !has_problem(&findings) {
            break findings;
        }
        progress.live(subject.name(), &format!("{}; looking again", report::count(&findings)));
        pause(AGAIN).await;
    };
    progress.clear();
    let oks = if args.verbose { Oks::Listed } else { Oks::Counted };
    let document = report::document(subject.name(), &aws.region, &findings);
    output::result(cli.output, &document, &report::text(subject.name(), &findings, oks))?;
    if has_problem(&findings) { Err(Failure::Degraded) } else { Ok(()) }
}

async fn look(aws: &Aws, subject: &Subject) -> Result<Vec<Finding>, Failure> {
    match subject {
        Subject::File(balancer) => {
            let own = async { futures::try_join!(discover(aws, balancer), observe(aws, &balancer.name)) };
            let (own, facts) = futures::join!(own, read::first(aws, balancer));
            match own {
                Ok((place, observed)) => Ok(examined(aws, balancer, &place, &observed, facts).await),
                Err(error) => blocked(error),
            }
        }
        Subject::Name(name) => existing(aws, name).await,
    }
}

/// The findings about the balancer that the nodes boot.
async fn existing(aws: &Aws, name: &str) -> Result<Vec<Finding>, Failure> {
    let glance = glance(aws, name).await;
    let observed = glance.observed;
    let is_there = observed.parts().iter().any(|part| part.tags.balancer() == Some(name))
        || observed.live().chain(observed.live_untagged()).next().is_some();
    if !is_there {
        return Err(status::unknown(aws, name, glance.unread));
    }
    if let Some(unread) = glance.unread.into_iter().next() {
        return blocked(unread.error);
    }
    let Some(config) = observed.config() else {
        let unreadable = observed.template.as_ref().and_then(changed_by_hand::unreadable);
        let seen = unreadable.unwrap_or_else(|| "its launch template is missing, which holds its settings".to_owned());
        return Ok(vec![Finding::problem(Id::Drift, seen, "run `launcher create` with its file")]);
    };
    let balancer = config.balancer;
    let (place, facts) = futures::join!(discover(aws, &balancer), read::first(aws, &balancer));
    match place {
        Ok(place) => Ok(examined(aws, &balancer, &place, &observed, facts).await),
        Err(error) => blocked(error),
    }
}

async fn examined(
    aws: &Aws,
    balancer: &Balancer,
    place: &Surroundings,
    observed: &Observed,
    mut facts: Facts,
) -> Vec<Finding> {
    read::second(aws, balancer, place, observed, &mut facts).await;
    examine(&Case { balancer, place, observed, facts: &facts })
}

/// The finding about a failed call without which `create` fails, too, and nothing can be checked.
fn blocked(error: CallFailed) -> Result<Vec<Finding>, Failure> {
    match error.reason {
        Reason::NoCredentials(_) => {
            let remedy = "sign in again, or use another profile: `aws sts get-caller-identity` shows which is used";
            Ok(vec![Finding::problem(Id::Credentials, error.to_string(), remedy)])
        }
        Reason::Denied(_) => {
            let remedy = "docs/permissions.md lists what the launcher calls";
            Ok(vec![Finding::problem(Id::Permissions, error.to_string(), remedy)])
        }
        _ => Err(error.into()),
    }
}
