//! Contents, and what the check says of them.

use std::path::Path;

use tidegate_plugin_media_type::{Config, MediaType};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Issue, Validate, Verdict};

pub const PNG: &[u8] = include_bytes!("../samples/picture.png");
pub const TAR: &[u8] = include_bytes!("../samples/archive.tar");
pub const TAR_GZ: &[u8] = include_bytes!("../samples/archive.tar.gz");
pub const BZ2: &[u8] = include_bytes!("../samples/notes.bz2");
pub const XZ: &[u8] = include_bytes!("../samples/notes.xz");
pub const WAV: &[u8] = include_bytes!("../samples/sound.wav");
pub const SQLITE: &[u8] = include_bytes!("../samples/data.sqlite");
pub const ZIP: &[u8] = include_bytes!("../samples/archive.zip");
pub const JAR: &[u8] = include_bytes!("../samples/program.jar");
pub const DOCX: &[u8] = include_bytes!("../samples/document.docx");
pub const XLSX: &[u8] = include_bytes!("../samples/sheet.xlsx");
pub const PPTX: &[u8] = include_bytes!("../samples/slides.pptx");
pub const ODT: &[u8] = include_bytes!("../samples/text.odt");
pub const ODG: &[u8] = include_bytes!("../samples/drawing.odg");
pub const EPUB: &[u8] = include_bytes!("../samples/book.epub");

pub const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n";
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01";
pub const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;";
pub const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00\x00\x00";
pub const EXE: &[u8] = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00";
pub const UNTOLD: &[u8] = b"\x07\x13\x00\x99 of no known format \x00\xfe";

pub const DOCX_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
pub const XLSX_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
pub const PPTX_TYPE: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

pub const BIG_TIFF: &[u8] = b"II+\x00\x08\x00\x00\x00\x10\x00\x00\x00";
pub const RF64: &[u8] = b"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00";
pub const PARQUET: &[u8] = b"PAR1\x15\x04\x15 \x15$L\x15\x04";
/// Frames of MPEG 1 with a checksum, of MPEG 2.5, and of layer II.
pub const MP3: [&[u8]; 3] = [b"\xff\xfa\x90d\x00\x00", b"\xff\xe3@\xc4\x00\x00", b"\xff\xfd\xa4\x00\x00\x00"];
/// MP4 by a brand that films, sounds and QuickTime have.
pub const ISOM: &[u8] = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42";

pub fn elf() -> Vec<u8> {
    [b"\x7fELF\x02\x01\x01\x00", &[0; 56][..]].concat()
}

pub fn media_type(config: Config) -> MediaType {
    assert_eq!(MediaType::check(&config, Path::new(".")), []);
    MediaType::build(config, Path::new(".")).unwrap()
}

pub fn lists(allow: &[&str], deny: &[&str]) -> Config {
    let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
    Config { allow: owned(allow), deny: owned(deny), ..Config::default() }
}

pub async fn issues(config: Config, file: MemoryFile) -> Vec<Issue> {
    match media_type(config).validate(&file).await.unwrap() {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(issues) => {
            assert!(!issues.is_empty());
            issues
        }
    }
}

pub async fn codes(config: Config, file: MemoryFile) -> Vec<String> {
    issues(config, file).await.into_iter().map(|issue| issue.code).collect()
}

pub fn file(name: &str, content: &[u8]) -> MemoryFile {
    MemoryFile::new(name, content.to_vec())
}

/// The type that the check sees in a content, as it says it.
pub async fn seen(content: &[u8]) -> String {
    let deny = lists(&[], &["*/*"]);
    let message = issues(deny, file("without-extension", content)).await.remove(0).message;
    message.split_whitespace().nth(3).unwrap().to_owned()
}
