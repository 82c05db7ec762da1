//! When what is claimed of a content agrees with what its first bytes tell.
//!
//! Formats are built on formats: a spreadsheet is a ZIP archive, a feed is XML, source code is text. Who says the one of a content that is
//! the other tells no lie.

use crate::name::{TEXT, UNKNOWN, is_told};
use crate::table::ELUSIVE;

const ZIP: &str = "application/zip";
const XML: &str = "application/xml";
const OLE: &str = "application/x-ole-storage";
const SQLITE: &str = "application/vnd.sqlite3";
const PEM: &str = "application/x-pem-file";
const CERTIFICATE: &str = "application/x-x509-ca-cert";

const DOCUMENT: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PRESENTATION: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// Types beside `text/…` and those with a suffix that are text.
const TEXTUAL: &[&str] = &[
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/ld+json",
    "application/pgp-signature",
    "application/sql",
    "application/toml",
    "application/typescript",
    "application/x-bat",
    "application/x-csh",
    "application/x-httpd-php",
    "application/x-javascript",
    "application/x-latex",
    "application/x-ndjson",
    "application/x-perl",
    "application/x-python",
    "application/x-ruby",
    "application/x-subrip",
    "application/x-tcl",
    "application/x-tex",
    "application/x-yaml",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "audio/mpegurl",
    "audio/scpls",
    "audio/x-mpegurl",
    "audio/x-scpls",
    "image/x-portable-anymap",
    "image/x-portable-bitmap",
    "image/x-portable-graymap",
    "image/x-portable-pixmap",
    "image/x-xbitmap",
    "image/x-xpixmap",
    "model/obj",
    "video/vnd.mpegurl",
];

/// Types that are built on another, which is what their first bytes tell.
const BUILT_ON: &[(&str, &[&str])] = &[
    (
        ZIP,
        &[
            "application/java-archive",
            "application/oxps",
            "application/vnd.android.package-archive",
            "application/vnd.apple.keynote",
            "application/vnd.apple.numbers",
            "application/vnd.apple.pages",
            "application/vnd.google-earth.kmz",
            "application/vnd.ms-xpsdocument",
            "application/x-cbz",
            "application/x-xpinstall",
            "image/openraster",
            "model/3mf",
        ],
    ),
    (
        OLE,
        &[
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-outlook",
            "application/vnd.ms-powerpoint",
            "application/vnd.ms-project",
            "application/vnd.visio",
            "application/x-ms-installer",
            "application/x-msi",
            "application/x-mspublisher",
        ],
    ),
    (
        "image/tiff",
        &[
            "image/x-adobe-dng",
            "image/x-nikon-nef",
            "image/x-nikon-nrw",
            "image/x-pentax-pef",
            "image/x-samsung-srw",
            "image/x-sony-arw",
        ],
    ),
    (
        CERTIFICATE,
        &[
            "application/pkcs10",
            "application/pkcs12",
            "application/pkcs7-mime",
            "application/pkcs7-signature",
            "application/pkcs8",
            "application/pkix-crl",
            "application/x-pkcs12",
            "application/x-pkcs7-certificates",
        ],
    ),
    ("application/x-unix-archive", &["application/vnd.debian.binary-package"]),
    ("audio/ogg", &["audio/opus", "audio/speex", "audio/vorbis", "video/ogg"]),
    ("video/x-matroska", &["audio/x-matroska", "video/webm"]),
    ("video/webm", &["audio/webm"]),
    ("video/x-ms-asf", &["audio/x-ms-wma"]),
];

/// Types that programs use one for the other.
const FAMILIES: &[&[&str]] = &[
    &["video/mp4", "audio/mp4", "video/x-m4v", "video/quicktime", "video/3gpp"],
    &["image/heif", "image/avif"],
    &[PEM, CERTIFICATE],
    // All of them may have an ID3 tag before them, which is what is seen then.
    &["audio/mpeg", "audio/flac", "audio/aac"],
];

/// What HTML is written in, too.
const WITH_HTML: &[&str] =
    &["text/html", "application/xhtml+xml", "application/x-httpd-php", "text/markdown", "text/x-markdown"];

/// Whether a content of which the first bytes tell `content` can be of the type `claimed`.
pub fn agrees(content: &str, claimed: &str) -> bool {
    if content == claimed || claimed == UNKNOWN {
        return true;
    }
    match content {
        UNKNOWN => !is_seen(claimed),
        "text/html" | "application/xhtml+xml" => WITH_HTML.contains(&claimed),
        "image/svg+xml" => claimed == XML,
        _ if is_plain(content) && may_be_text(claimed) => true,
        _ if is_container(content) && is_open(claimed) => true,
        PEM => is_built_on(claimed, CERTIFICATE) || are_family(content, claimed),
        _ => is_built_on(claimed, content) || is_built_on(content, claimed) || are_family(content, claimed),
    }
}

/// Whether a content of which the first bytes tell `content` is taken for a `claimed`, because no first bytes tell that.
pub fn counts_as(content: &str, claimed: &str) -> bool {
    (matches!(content, TEXT | XML) && is_text(claimed)) || (base_of(claimed) == Some(content) && !is_told(claimed))
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
    matches!(content, TEXT | XML | PEM | "text/x-shellscript")
}

/// What many programs keep their documents in, each under an extension of its own.
fn is_container(content: &str) -> bool {
    matches!(content, ZIP | OLE | SQLITE)
}

/// Whether nothing is known of the type, so that it can be built on anything.
fn is_open(name: &str) -> bool {
    !can_be_seen(name) && !is_medium(name)
}

fn is_medium(name: &str) -> bool {
    ["image/", "audio/", "video/", "font/"].iter().any(|top| name.starts_with(top))
}

fn is_text(name: &str) -> bool {
    let suffixes = ["+xml", "+json", "+json-seq", "+yaml"];
    name.starts_with("text/")
        || name.starts_with("message/")
        || suffixes.iter().any(|suffix| name.ends_with(suffix))
        || TEXTUAL.contains(&name)
}

/// Whether it is text, or nothing is known against it. Windows calls CSV `application/vnd.ms-excel`.
fn may_be_text(name: &str) -> bool {
    is_text(name) || name == "application/vnd.ms-excel" || is_open(name)
}

fn are_family(one: &str, other: &str) -> bool {
    FAMILIES.iter().any(|family| family.contains(&one) && family.contains(&other))
}

/// Whether `name` is built on `base`, be it over others.
fn is_built_on(name: &str, base: &str) -> bool {
    std::iter::successors(base_of(name), |name| base_of(name)).any(|found| found == base)
}

/// What `name` is built on.
fn base_of(name: &str) -> Option<&'static str> {
    if let Some((base, _)) = BUILT_ON.iter().find(|(_, names)| names.contains(&name)) {
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
