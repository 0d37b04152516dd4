//! Who made what nodes boot: this Elbow, a newer one, or somebody by hand. Pure; `create`, `update`, `handover` and `status`
//! ask the same.

use templates::text::Image;
use templates::{Balancer, files};

use crate::resources::launch_template::{Contents, Template, Version};

/// This Elbow.
const OWN: &str = env!("CARGO_PKG_VERSION");
const UNDO: &str = "set the version that Elbow made as the default, or go on with --force";

/// Why nothing is known of what nodes should be, if what they boot can't be read.
pub fn unreadable(template: &Template) -> Option<String> {
    let error = files::read_back(&template.contents.user_data).err()?;
    let error = anyhow::Error::new(error);
    let who = newer(template).map_or("it was made by a newer Elbow, or by hand".to_owned(), |newer| newer.1);
    Some(format!(
        "{} can't be read ({error:#}): {who}; use that Elbow, or make a version of this one's the default",
        called(template)
    ))
}

/// What to say if a newer Elbow made what nodes boot: this one would take back what it doesn't know of.
pub fn by_a_newer_one(template: &Template) -> Option<String> {
    newer(template).map(|(version, who)| format!("{}: {who}, and this is {OWN}: use Elbow {version}", called(template)))
}

fn newer(template: &Template) -> Option<(String, String)> {
    let maker = files::maker(&template.contents.user_data)?;
    let who = format!("it was made by Elbow {maker}");
    (numbers(&maker) > numbers(OWN)).then_some((maker, who))
}

/// A version's numbers, as they compare.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// What Elbow would have nodes boot.
pub struct Own<'a> {
    /// The balancer that the template says it holds.
    pub balancer: &'a Balancer,
    /// What a version of it holds, but for the image.
    pub contents: Contents,
}

/// What somebody changed by hand in what nodes boot. `last`: the newest version that Elbow made the default, where it is
/// known and isn't what nodes boot.
pub fn by_hand(template: &Template, last: Option<&Version>, own: &Own<'_>) -> Option<String> {
    let (is_elbows, there) = (template.made().map(|made| made.has(template.version)), &template.contents);
    let other = match (is_elbows, last) {
        // A version never changes.
        (Some(true), _) => return None,
        (_, Some(last)) => there.differences(&last.contents),
        _ => from_own(there, own),
    };
    let holds = own.balancer.revision().0;
    let described = (template.revision != holds)
        .then(|| format!("it is described as {:?} and holds revision {holds}", template.revision));
    let than = last.map_or("Elbow gave it".to_owned(), |last| format!("version {}, Elbow's last", last.number));
    let differs = (!other.is_empty()).then(|| format!("it has other {} than {than}", other.join(", ")));
    let said: Vec<String> = [described, differs].into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!("{} was changed by hand: {}; {UNDO}", called(template), said.join(", and ")))
}

/// Where nothing is remembered, as a balancer is older than that: what Elbow would give it now.
fn from_own(there: &Contents, own: &Own<'_>) -> Vec<String> {
    let mut wanted = own.contents.clone();
    // A name for an image may have stood for any.
    if matches!(own.balancer.image, Image::Parameter(_)) {
        wanted.image = there.image.clone();
    }
    // What another Elbow renders differs.
    if files::maker(&there.user_data).as_deref() != Some(OWN) {
        wanted.user_data = there.user_data.clone();
    }
    there.differences(&wanted)
}

/// Whether it is somebody else's version that nodes boot, where nothing is known of the others.
pub fn by_somebody(template: &Template) -> Option<String> {
    template.made().filter(|made| !made.has(template.version))?;
    Some(format!(
        "{} isn't one that Elbow made the default: `launcher update` with its file says what was changed by hand, and puts it \
         right with --force",
        called(template)
    ))
}

fn called(template: &Template) -> String {
    format!("version {} of launch template {}, which nodes boot,", template.version, template.name)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use templates::names::TAG_MADE;

    use super::*;
    use crate::desired::tests::{desired, web};
    use crate::observe::tests::whole;

    fn template(made: Option<&str>) -> Template {
        let mut template = whole().template.expect("it has one");
        if let Some(made) = made {
            template.tags.0.insert(TAG_MADE.to_owned(), made.to_owned());
        }
        template
    }

    fn said(template: &Template, last: Option<&Version>) -> Option<String> {
        let balancer = web();
        by_hand(template, last, &Own { balancer: &balancer, contents: desired().contents("sg-1", None) })
    }

    #[test]
    fn what_elbow_made_the_default_is_its_own_and_what_it_did_not_is_compared_with_its_last() {
        let mut boots = template(Some("1-2"));
        let last =
            Version { number: 2, revision: boots.revision.clone(), made: None, contents: boots.contents.clone() };
        boots.contents.image = "ami-other".to_owned();
        boots.contents.more = vec!["KeyName", "BlockDeviceMappings"];
        assert_eq!(said(&boots, Some(&last)), None, "version 1 was Elbow's when it was this");
        boots.version = 3;
        let said = said(&boots, Some(&last)).expect("it is another");
        assert_eq!(
            said,
            "version 3 of launch template elbow-web, which nodes boot, was changed by hand: it has other ImageId (ami-other \
             instead of ami-0a1b2c3d), KeyName, BlockDeviceMappings than version 2, Elbow's last; set the version that Elbow \
             made as the default, or go on with --force"
        );
    }

    #[test]
    fn a_balancer_without_a_memory_is_compared_with_what_elbow_would_make() {
        let mut boots = template(None);
        assert_eq!(said(&boots, None), None);
        boots.contents.user_data =
            STANDARD.encode(files::user_data_gzip(&Balancer { name: "wep".into(), ..web() }).unwrap());
        assert!(said(&boots, None).expect("by this Elbow's mark").contains("other UserData than Elbow gave it"));
        boots.contents.user_data = "bm90IGd6aXA=".to_owned();
        assert_eq!(said(&boots, None), None, "another Elbow may have made it");
        boots.contents.image = "ami-other".to_owned();
        assert!(said(&boots, None).expect("the file names one").contains("other ImageId"));
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("0.10.0") > numbers("0.9.3"));
        assert!(numbers("0.1.0-rc1") <= numbers("0.1.0"));
        assert_eq!(by_a_newer_one(&template(None)), None);
    }
}
