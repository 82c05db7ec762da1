//! When what is claimed of a content agrees with what its first bytes tell.
//!
//! Formats are built on formats: a spreadsheet is a ZIP archive, a feed is XML, source code is text. Who says the one of a content that is
//! the other tells no lie.

use crate::name::{UNKNOWN, is_told};
use crate::named::{self, CERTIFICATE, OLE, PEM, TEXT, XML, ZIP};
use crate::table::ELUSIVE;

const HTML: &str = "text/html";
const SCRIPT: &str = "text/x-shellscript";
const SQLITE: &str = "application/vnd.sqlite3";
const SVG: &str = "image/svg+xml";
const XHTML: &str = "application/xhtml+xml";

const DOCUMENT: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PRESENTATION: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// Types that first bytes tell, or not, and then they tell what these are built on. What they never tell stands in its own table.
const BUILT_ON: &[(&str, &str)] = &[
    ("application/vnd.debian.binary-package", "application/x-unix-archive"),
    ("audio/opus", "audio/ogg"),
    ("image/openraster", ZIP),
    ("video/webm", "video/x-matroska"),
];

/// Types that programs use one for the other.
const FAMILIES: &[&[&str]] = &[
    &["video/mp4", "audio/mp4", "video/x-m4v", "video/quicktime", "video/3gpp"],
    &["image/heif", "image/avif"],
    &[PEM, CERTIFICATE],
    // All of them may have an ID3 tag before them, which is what is seen then.
    &["audio/mpeg", "audio/flac", "audio/aac"],
];

/// Pages that a web server runs. They may begin as what they turn into.
const OF_SERVERS: &[&str] = &["application/x-httpd-php", "application/x-jsp", "application/x-asp"];

/// What HTML is written in beside these.
const WITH_HTML: &[&str] = &[HTML, XHTML, "text/markdown", "application/hta"];

/// Whether a content of which the first bytes tell `content` can be of the type `claimed`.
pub fn agrees(content: &str, claimed: &str) -> bool {
    if content == claimed || claimed == UNKNOWN {
        return true;
    }
    match content {
        UNKNOWN => !is_seen(claimed),
        HTML | XHTML => WITH_HTML.contains(&claimed) || OF_SERVERS.contains(&claimed),
        SVG => claimed == XML || OF_SERVERS.contains(&claimed),
        _ if is_plain(content) && may_be_text(claimed) => true,
        _ if is_container(content) && is_open(claimed) => true,
        PEM => is_built_on(claimed, CERTIFICATE) || are_family(content, claimed),
        _ => is_built_on(claimed, content) || is_built_on(content, claimed) || are_family(content, claimed),
    }
}

/// Whether a content of which the first bytes tell `content` is taken for a `claimed`, because it is one, or no first bytes tell that.
pub fn counts_as(content: &str, claimed: &str) -> bool {
    let is_untold = |base: &str| base_of(claimed) == Some(base) && !is_told(claimed);
    match content {
        TEXT | XML => is_text(claimed),
        SCRIPT => runs(claimed),
        PEM => claimed == CERTIFICATE || is_untold(PEM) || is_untold(CERTIFICATE),
        HTML | XHTML | SVG => runs(claimed) && agrees(content, claimed),
        // Opus is Ogg, and WebM is Matroska.
        _ if is_medium(content) && is_built_on(content, claimed) => true,
        _ => is_untold(content),
    }
}

/// Whether programs write such contents with each other's first bytes.
pub fn are_family(one: &str, other: &str) -> bool {
    FAMILIES.iter().any(|family| family.contains(&one) && family.contains(&other))
}

/// Whether a file that is taken for a `claimed` is run where one that is taken for its `content` is not.
pub fn runs_beyond(content: &str, claimed: &str) -> bool {
    let is_markup = [HTML, XHTML, SVG, SCRIPT].contains(&claimed) || (content != XML && is_xml(claimed));
    content != claimed && agrees(content, claimed) && (runs(claimed) || (is_plain(content) && is_markup))
}

/// Whether there is a content that is, or counts as, `name`.
pub fn can_be_seen(name: &str) -> bool {
    name == UNKNOWN || is_told(name) || is_text(name) || base_of(name).is_some()
}

/// Whether an extension that nobody knows is no contradiction: such contents have any.
pub fn has_any_extension(content: &str) -> bool {
    content == UNKNOWN || is_plain(content) || is_container(content)
}

/// Whether the first bytes of such a file tell it, or what it is built on.
fn is_seen(name: &str) -> bool {
    let is_elusive = ELUSIVE.contains(&name) || base_of(name).is_some_and(|base| ELUSIVE.contains(&base));
    can_be_seen(name) && !is_elusive
}

/// Text that can be about anything.
fn is_plain(content: &str) -> bool {
    matches!(content, TEXT | XML | PEM | SCRIPT)
}

/// What many programs keep their documents in, each under an extension of its own.
fn is_container(content: &str) -> bool {
    matches!(content, ZIP | OLE | SQLITE)
}

/// Whether nothing is known of the type, so that it can be built on anything.
fn is_open(name: &str) -> bool {
    !can_be_seen(name) && !is_medium(name)
}

/// Whether it is a picture, a sound, a film or a font by its name.
pub fn is_medium(name: &str) -> bool {
    ["image/", "audio/", "video/", "font/"].iter().any(|top| name.starts_with(top))
}

fn is_text(name: &str) -> bool {
    let suffixes = ["+xml", "+json", "+json-seq", "+yaml"];
    name.starts_with("text/")
        || name.starts_with("message/")
        || suffixes.iter().any(|suffix| name.ends_with(suffix))
        || [TEXT, XML, PEM].iter().any(|base| name == *base || is_built_on(name, base))
}

fn is_xml(name: &str) -> bool {
    name == XML || name.ends_with("+xml") || is_built_on(name, XML)
}

fn runs(name: &str) -> bool {
    named::find(name).is_some_and(|named| named.runs)
}

/// Whether it is text, or nothing is known against it. Windows calls CSV `application/vnd.ms-excel`.
fn may_be_text(name: &str) -> bool {
    is_text(name) || name == "application/vnd.ms-excel" || is_open(name)
}

/// Whether `name` is built on `base`, be it over others.
fn is_built_on(name: &str, base: &str) -> bool {
    std::iter::successors(base_of(name), |name| base_of(name)).any(|found| found == base)
}

/// What `name` is built on.
fn base_of(name: &str) -> Option<&'static str> {
    if let Some(named) = named::find(name) {
        return Some(named.base);
    }
    if let Some((_, base)) = BUILT_ON.iter().find(|(built, _)| *built == name) {
        return Some(base);
    }
    if [DOCUMENT, SHEET, PRESENTATION].contains(&name) {
        return Some(ZIP);
    }
    let is_one = |beginnings: [&str; 2]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    if is_one(["application/vnd.ms-word.", "application/vnd.openxmlformats-officedocument.wordprocessingml."]) {
        return Some(DOCUMENT);
    }
    if is_one(["application/vnd.ms-excel.", "application/vnd.openxmlformats-officedocument.spreadsheetml."]) {
        return Some(SHEET);
    }
    if is_one(["application/vnd.ms-powerpoint.", "application/vnd.openxmlformats-officedocument.presentationml."]) {
        return Some(PRESENTATION);
    }
    if let Some(kind) = name.strip_prefix("application/vnd.oasis.opendocument.") {
        return match kind.split_once('-') {
            Some((_, "flat-xml")) => Some(XML),
            Some(("text", _)) => Some("application/vnd.oasis.opendocument.text"),
            Some(("spreadsheet", _)) => Some("application/vnd.oasis.opendocument.spreadsheet"),
            Some(("presentation", _)) => Some("application/vnd.oasis.opendocument.presentation"),
            _ => Some(ZIP),
        };
    }
    (name.ends_with("+zip") || name.starts_with("application/vnd.sun.xml.")).then_some(ZIP)
}
