//! Detects drift of the default: a newer Elbow or a person set the version that nodes boot. Pure; `create`, `update`,
//! `handover` and `status` use it.

use templates::files;

use crate::resources::launch_template::Template;

/// The version of this Elbow.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// The problem, if the version that nodes boot can't be read.
pub fn unreadable(template: &Template) -> Option<String> {
    let error = files::read_back(&template.contents.user_data).err()?;
    let error = anyhow::Error::new(error);
    let who = newer(template).map_or("it was made by a newer Elbow, or by hand".to_owned(), |newer| newer.1);
    Some(format!(
        "{} can't be read ({error:#}): {who}; use that Elbow, or make a version by this Elbow the default",
        called(template)
    ))
}

/// The problem, if a newer Elbow made the version that nodes boot: this one would undo settings that it doesn't know.
pub fn by_a_newer_one(template: &Template) -> Option<String> {
    newer(template)
        .map(|(version, who)| format!("{} is too new: {who}, and this is {OWN}: use Elbow {version}", called(template)))
}

fn newer(template: &Template) -> Option<(String, String)> {
    let maker = files::maker(&template.contents.user_data)?;
    let who = format!("it was made by Elbow {maker}");
    (numbers(&maker) > numbers(OWN)).then_some((maker, who))
}

/// The numbers of a version, for comparison.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// The problem, if the version that nodes boot was set by hand.
pub fn by_hand(template: &Template) -> Option<String> {
    let own = template.defaults().overruled(template.version)?.version;
    let what = match template.version == template.default {
        true => format!("was made the default by hand; Elbow's default is version {own}: make that the default again"),
        false => {
            format!("was put into the Auto Scaling group by hand; Elbow's is version {own}: put that into it again")
        }
    };
    let number = template.version;
    Some(format!("{} {what}, or `launcher update` with --force replaces version {number}", called(template)))
}

fn called(template: &Template) -> String {
    format!("version {} of launch template {}, which nodes boot,", template.version, template.name)
}

#[cfg(test)]
mod tests {
    use templates::names::TAG_DEFAULT;

    use super::*;
    use crate::model::observe::tests::whole;

    fn template() -> Template {
        whole().template.expect("it has one")
    }

    #[test]
    fn a_default_that_the_tag_does_not_name_was_set_by_hand() {
        let mut template = template();
        assert_eq!(by_hand(&template), None);
        (template.version, template.default) = (3, 3);
        assert_eq!(
            by_hand(&template).as_deref(),
            Some(
                "version 3 of launch template elbow-web, which nodes boot, was made the default by hand; Elbow's default is \
                 version 1: make that the default again, or `launcher update` with --force replaces version 3"
            )
        );
        template.tags.0.remove(TAG_DEFAULT);
        assert_eq!(by_hand(&template), None, "Elbow didn't make the template");
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("0.10.0") > numbers("0.9.3"));
        assert!(numbers("0.1.0-rc1") <= numbers("0.1.0"));
        assert_eq!(by_a_newer_one(&template()), None);
    }
}
