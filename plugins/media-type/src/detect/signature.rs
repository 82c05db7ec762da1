//! Binary formats by their signatures, which are `infer`'s, with what is known to be amiss there put right.

use super::text::{is_other_text, is_script};
use crate::name::canonical;

const PDF_HEADER: &[u8] = b"%PDF";
/// Readers look for a PDF's header in as many bytes.
const PDF_HEADER_WITHIN: usize = 1024;

const ZIP_ENTRY: &[u8] = b"PK\x03\x04";
/// Where an entry's name stands in its header.
const ZIP_ENTRY_NAME: usize = 30;

/// Bytes that a bitmap does not use.
const BITMAP_RESERVED: std::ops::Range<usize> = 6..10;

pub fn detect(head: &[u8]) -> Option<&'static str> {
    // Which of the formats in this container it is stands anywhere in the file.
    if infer::archive::is_msi(head) {
        return Some("application/x-ole-storage");
    }
    if let Some(name) = beyond_infer(head) {
        return Some(name);
    }
    let found = infer::get(head).and_then(|found| match (found.mime_type(), found.extension()) {
        ("application/pdf", _) if !head.starts_with(PDF_HEADER) => Some(before_the_pdf(head)),
        ("application/zip", _) => Some(office(head).unwrap_or("application/zip")),
        (_, "eot") => Some("application/vnd.ms-fontobject"),
        (_, "woff2") => Some("font/woff2"),
        (_, "ttf") => Some("font/ttf"),
        (_, "otf") => Some("font/otf"),
        ("text/x-shellscript", _) if !is_script(head) => None,
        // Two bytes that many other files begin with.
        (_, "obj") => None,
        (_, "bc") if !head.starts_with(b"BC\xc0\xde") => None,
        // Letters that a text in an older encoding begins with. No program and no sound is without control characters.
        (_, "exe" | "dll" | "mp3") if is_other_text(head) => None,
        (_, "bmp") if head.get(BITMAP_RESERVED).is_some_and(|reserved| reserved != [0; 4]) => None,
        (_, "gif") if !head.starts_with(b"GIF8") => None,
        (_, "webp") if !head.starts_with(b"RIFF") => None,
        (name, _) => Some(canonical(name)),
    });
    found.or_else(|| iso_media(head)).or_else(|| mpeg_audio(head)).or_else(|| further_in(head))
}

/// What `infer` does not know at all, or has one form of. The forms of TIFF and WAV are those for files of more than 4 GiB.
fn beyond_infer(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'A', b'R', b'1', ..] if !is_other_text(head) => Some("application/vnd.apache.parquet"),
        // `infer` takes it for no picture where what follows the header begins with certain letters.
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] if !infer::image::is_cr2(head) => Some("image/tiff"),
        [b'I', b'I', b'+', 0, 8, 0, 0, 0, ..] | [b'M', b'M', 0, b'+', 0, 8, 0, 0, ..] => Some("image/tiff"),
        [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some("audio/wav"),
        _ => None,
    }
}

/// The header of a frame of MPEG audio, layer II or III. `infer` knows three of them. Reserved values, and the layer that AAC has there,
/// are none.
fn mpeg_audio(head: &[u8]) -> Option<&'static str> {
    let [0xff, kind, rates, ..] = *head else { return None };
    let (version, layer, bit_rate, sample_rate) = (kind & 0x18, kind & 0x06, rates & 0xf0, rates & 0x0c);
    let is_frame = kind & 0xe0 == 0xe0
        && version != 0x08
        && matches!(layer, 0x02 | 0x04)
        && !matches!(bit_rate, 0x00 | 0xf0)
        && sample_rate != 0x0c;
    (is_frame && !is_other_text(head)).then_some("audio/mpeg")
}

/// Readers take a PDF that begins with something else, and so would `infer`, for archives that hold a PDF, too. What begins as
/// something else is that.
fn before_the_pdf(head: &[u8]) -> &'static str {
    let mut without = head.to_vec();
    for at in 0..head.len().min(PDF_HEADER_WITHIN) {
        if head[at..].starts_with(PDF_HEADER) {
            without[at] = 0;
        }
    }
    detect(&without).unwrap_or("application/pdf")
}

/// What stands behind a beginning that was taken for something else: `infer` says the first that it finds. An archive's first file
/// may be called `BMW.txt`.
fn further_in(head: &[u8]) -> Option<&'static str> {
    let signatures: [(infer::Matcher, &str); 4] = [
        (infer::archive::is_tar, "application/x-tar"),
        (infer::archive::is_dcm, "application/dicom"),
        (infer::book::is_mobi, "application/x-mobipocket-ebook"),
        (infer::archive::is_pdf, "application/pdf"),
    ];
    signatures.into_iter().find(|(is_there, _)| is_there(head)).map(|(_, name)| name)
}

/// The Office Open XML format of an archive, by the folder that each of them has. `infer` knows some orders of its entries.
fn office(head: &[u8]) -> Option<&'static str> {
    let mut names = head
        .windows(ZIP_ENTRY.len())
        .enumerate()
        .filter(|(_, window)| *window == ZIP_ENTRY)
        .filter_map(|(at, _)| head.get(at + ZIP_ENTRY_NAME..));
    let of_office: [&[u8]; 5] = [b"[Content_Types].xml", b"_rels/", b"docProps/", b"customXml/", b"mimetype"];
    let first = names.next()?;
    if !of_office.iter().any(|start| first.starts_with(start)) {
        return None;
    }
    names.find_map(|name| match name {
        [b'w', b'o', b'r', b'd', b'/', ..] => {
            Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document")
        }
        [b'x', b'l', b'/', ..] => Some("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        [b'p', b'p', b't', b'/', ..] => {
            Some("application/vnd.openxmlformats-officedocument.presentationml.presentation")
        }
        _ => None,
    })
}

/// The ISO base media format has many brands, and `infer` knows the commonest.
fn iso_media(head: &[u8]) -> Option<&'static str> {
    let brand = head.get(8..12).filter(|_| &head[4..8] == b"ftyp")?;
    Some(match brand {
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" | b"mif1" | b"msf1" => {
            "image/heif"
        }
        b"avif" | b"avis" => "image/avif",
        b"crx " => "image/x-canon-cr3",
        [b'3', b'g', ..] => "video/3gpp",
        b"M4A " | b"M4B " | b"M4P " | b"F4A " | b"F4B " => "audio/mp4",
        _ => "video/mp4",
    })
}
