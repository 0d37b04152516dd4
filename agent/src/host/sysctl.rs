//! Sets the kernel's settings (sysctl.d(5)) through /proc/sys.

use std::path::PathBuf;

use anyhow::Context;

/// A setting that had another value.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    pub file: PathBuf,
    pub found: String,
    pub wanted: String,
}

/// Makes the kernel's settings those of `conf`, a file as sysctl.d(5) describes it; returns those that it changed. A
/// setting that this kernel lacks is left out.
pub fn ensure(conf: &str) -> anyhow::Result<Vec<Restored>> {
    let mut restored = Vec::new();
    for (file, wanted) in settings(conf) {
        let Ok(found) = std::fs::read_to_string(&file) else { continue };
        if is_other(&found, &wanted) {
            std::fs::write(&file, &wanted).with_context(|| format!("writing {wanted} to {}", file.display()))?;
            restored.push(Restored { file, found: found.trim().to_owned(), wanted });
        }
    }
    Ok(restored)
}

/// The files in /proc/sys and their values.
fn settings(conf: &str) -> Vec<(PathBuf, String)> {
    let lines = conf.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, value)| (PathBuf::from("/proc/sys").join(key.replace('.', "/")), value.to_owned())).collect()
}

/// Whether the kernel's value differs. The kernel separates numbers by tabs.
fn is_other(found: &str, wanted: &str) -> bool {
    !found.split_whitespace().eq(wanted.split_whitespace())
}

#[cfg(test)]
mod tests {
    use templates::Balancer;
    use templates::files::sysctl_conf;

    use super::*;

    #[test]
    fn settings_are_read_from_the_rendered_file() {
        let balancer = Balancer::parse(include_str!("../../../templates/goldens/small/balancer.toml")).unwrap();
        let settings = settings(&sysctl_conf(&balancer));
        let has = |file: &str, value: &str| settings.contains(&(file.into(), value.into()));
        assert!(has("/proc/sys/net/core/somaxconn", "8192"), "{settings:?}");
        assert!(has("/proc/sys/net/ipv4/conf/all/rp_filter", "0"), "{settings:?}");
        assert!(settings.iter().all(|(file, _)| file.starts_with("/proc/sys/net")), "{settings:?}");
    }

    #[test]
    fn a_value_differs_by_its_words_not_by_its_spaces() {
        assert!(!is_other("10240\t65535\n", "10240 65535"));
        assert!(!is_other("8192\n", "8192"));
        assert!(is_other("128\n", "8192") && is_other("", "8192") && is_other("10240\t60999\n", "10240 65535"));
    }
}
