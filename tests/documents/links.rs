//! Each link in a document leads to a file and a heading, and each file that a document names exists.

use std::path::Path;

use crate::pages::{Page, checkout, pages, spans};

#[test]
fn every_link_in_a_document_leads_to_a_file_and_a_heading() {
    let (root, pages) = (checkout(), pages());
    let (mut files, mut headings) = (0, 0);
    for page in &pages {
        let folder = root.join(&page.name).parent().unwrap().to_owned();
        for link in links(&page.prose()) {
            files += 1;
            let (file, heading) = link.split_once('#').map_or((link.as_str(), None), |(file, id)| (file, Some(id)));
            let file = if file.is_empty() { root.join(&page.name) } else { folder.join(file) };
            let file = file.canonicalize().unwrap_or_else(|error| panic!("{} links to {link}: {error}", page.name));
            let Some(heading) = heading else { continue };
            headings += 1;
            let other = pages.iter().find(|page| root.join(&page.name) == file);
            let is_there = other.is_some_and(|other| anchors(other).iter().any(|anchor| anchor == heading));
            assert!(is_there, "{} links to {link}, and {} has no such heading", page.name, file.display());
        }
    }
    assert!(files > 100 && headings > 50, "only {files} links, and {headings} to headings, were found");
}

/// The links to files of the repository.
fn links(prose: &str) -> Vec<String> {
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    links.filter(|link| !link.starts_with("http")).map(str::to_owned).collect()
}

/// The ids of a page's headings, as GitHub makes them: small letters, digits, `-` and `_`, with `-` for a space.
fn anchors(page: &Page) -> Vec<String> {
    let prose = page.prose();
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn links_and_headings_are_read_as_github_reads_them() {
    let text = "# `status` says: it's _x_\n\n[a](b.md#c) [d](https://e)\n```\n[f](g.md)\n# no heading\n```\n";
    let page = Page { name: "page".to_owned(), text: text.to_owned() };
    assert_eq!(anchors(&page), ["status-says-its-_x_"]);
    assert_eq!(links(&page.prose()), ["b.md#c"]);
}

#[test]
fn every_file_that_a_document_names_exists() {
    let mut here = Vec::new();
    for folder in ["agent", "launcher", "templates", "tests", "docs"] {
        below(&checkout(), Path::new(folder), &mut here);
    }
    let mut seen = 0;
    for page in pages() {
        for name in spans(&page.prose()) {
            let is_elsewhere = name.starts_with(['/', '<']) || name.starts_with("http") || name.starts_with("target/");
            if is_elsewhere || name.contains([' ', '*', '<']) {
                continue;
            }
            let is_file = [".rs", ".py", ".sh"].iter().any(|end| name.ends_with(end));
            if !is_file && !name.ends_with('/') {
                continue;
            }
            seen += 1;
            let is_named = |file: &String| match is_file {
                true => file == name || file.ends_with(&format!("/{name}")),
                false => file.starts_with(name) || file.contains(&format!("/{name}")),
            };
            assert!(here.iter().any(is_named), "{} names `{name}`, which doesn't exist", page.name);
        }
    }
    assert!(seen > 50, "only {seen} names were found");
}

/// The files below a folder, named from the root.
fn below(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap()) {
        let name = folder.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => below(root, &name, found),
            false => found.push(name.display().to_string()),
        }
    }
}
