//! Paths of the metadata service: `/VERSION/CATEGORY/…`.

use percent_encoding::percent_decode_str;

/// The versions that a client may request. All give the same answers here.
pub const VERSIONS: [&str; 9] = [
    "2009-04-04",
    "2016-09-02",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "latest",
];

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The list of versions.
    Versions,
    /// A path in the tree, without the version: `meta-data/instance-id`. A folder may end in `/`.
    Place(String),
    Token,
    /// An unknown version.
    Nothing,
}

/// Parses a request's path.
pub fn read(path: &str) -> Asked {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Asked::Versions;
    }
    let (version, place) = path.split_once('/').unwrap_or((path, ""));
    match (VERSIONS.contains(&version), place) {
        (true, "api/token") => Asked::Token,
        (true, place) => Asked::Place(place.to_owned()),
        (false, _) => Asked::Nothing,
    }
}

/// A path from `lab imds`, without the version and with the category: `spot/instance-action` is in `meta-data`.
pub fn named(path: &str) -> String {
    let path = path.trim_matches('/');
    let path = match path.split_once('/') {
        Some((version, place)) if VERSIONS.contains(&version) => place,
        _ => path,
    };
    match path.split('/').next() {
        Some("meta-data" | "dynamic" | "user-data") => path.to_owned(),
        _ => format!("meta-data/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_version_and_a_place() {
        let place = |text: &str| Asked::Place(text.to_owned());
        assert_eq!(read("/latest/meta-data/instance-id"), place("meta-data/instance-id"));
        assert_eq!(read("/2021-03-23/meta-data/"), place("meta-data/"));
        assert_eq!(read("/latest"), place(""));
        assert_eq!(read("/latest/meta-data/tags/instance/elbow%3Avpc"), place("meta-data/tags/instance/elbow:vpc"));
        assert_eq!(read("/latest/api/token"), Asked::Token);
        assert_eq!(read("/"), Asked::Versions);
        assert_eq!(read("/2099-01-01/meta-data/"), Asked::Nothing);
    }

    #[test]
    fn a_path_of_an_operator_needs_no_version_or_category() {
        for path in ["spot/instance-action", "meta-data/spot/instance-action", "/latest/meta-data/spot/instance-action"]
        {
            assert_eq!(named(path), "meta-data/spot/instance-action");
        }
        assert_eq!(named("/latest/user-data"), "user-data");
    }
}
