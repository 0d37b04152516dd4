//! Checks of an operator's text that haproxy.cfg will contain. The quoter (`files/haproxy/quote.rs`) keeps any text from
//! changing the file's meaning; these checks refuse what couldn't work.

use regex_syntax::ast;

use super::naming::is_label;

/// The longest text that one value has: ALB's is 128, and its headers' 16 KB are of no use here.
const LONGEST: usize = 1024;

/// Text of one line.
pub fn printable(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(_) => Err(format!("{text:?} has a control character; write printable text in one line")),
        None if text.len() > LONGEST => Err(format!("{} bytes are too many; write at most {LONGEST}", text.len())),
        None => Ok(()),
    }
}

/// The name of a header, cookie or query parameter: it becomes an argument in haproxy.cfg that can't be quoted.
pub fn name(what: &str, text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{text:?} is not the name of a {what}; use up to 64 of a-z, A-Z, 0-9, - and _"))
}

/// The name of a listener or target group. HAProxy's sections `NAME--all` and `NAME--rate` are Elbow's own.
pub fn section(name: &str) -> Result<(), String> {
    if !is_label(name, 32) {
        return Err(format!(
            "{name:?} is not a valid name; use up to 32 of a-z, 0-9 and -, starting with a letter and not ending with -"
        ));
    }
    match name.contains("--") {
        true => Err(format!("{name:?} has two - in a row; write one")),
        false => Ok(()),
    }
}

/// A host name, which may have `*` and `?`, or `~` and a regular expression.
pub fn host_pattern(text: &str) -> Result<(), String> {
    if let Some(regex) = text.strip_prefix('~') {
        return self::regex(regex);
    }
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*?".contains(&b)) {
        return Ok(());
    }
    Err(format!("{text:?} is not a host; use up to 128 of a-z, 0-9, -._ and the wildcards * and ?, without a port"))
}

/// A path, which may have `*` and `?`, or `~` and a regular expression.
pub fn path_pattern(text: &str) -> Result<(), String> {
    if let Some(regex) = text.strip_prefix('~') {
        return self::regex(regex);
    }
    let plain = |b: u8| b.is_ascii_graphic() && b != b'#';
    if text.starts_with(['/', '*']) && text.len() <= 128 && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{text:?} is not a path; write / and up to 127 characters of a URL's path, with the wildcards * and ?"))
}

/// A regular expression that means the same to HAProxy's PCRE.
pub fn regex(text: &str) -> Result<(), String> {
    printable(text)?;
    let read = ast::parse::Parser::new().parse(text).map_err(|error| error.kind().to_string());
    let read = read.and_then(|regex| ast::visit(&regex, PlainClasses));
    read.map_err(|why| format!("{text:?} is not a regular expression: {why}"))
}

/// Refuses classes in classes, which PCRE reads as plain characters.
struct PlainClasses;

impl ast::Visitor for PlainClasses {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
        match item {
            ast::ClassSetItem::Bracketed(_) => Err("[ in a class needs a backslash".to_owned()),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        Err("&&, -- and ~~ in a class need backslashes".to_owned())
    }
}

/// A host without wildcards.
pub fn host(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if (1..=253).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{text:?} is not a host; use up to 253 of a-z, 0-9 and -._:"))
}

/// A part of a URL: no spaces, no quotes.
pub fn url_part(text: &str) -> Result<(), String> {
    if text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`|".contains(&b)) {
        return Ok(());
    }
    Err(format!("{text:?} is not a part of a URL; use the characters of RFC 3986 without spaces and quotes"))
}

/// A media type, such as `text/plain; charset=utf-8`.
pub fn media_type(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-+._/;= ".contains(&b);
    if text.len() <= 128 && text.contains('/') && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{text:?} is not a media type, such as \"text/plain\""))
}
