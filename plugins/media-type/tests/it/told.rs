//! What the first bytes tell.

use proptest::prelude::*;
use tidegate_plugin_media_type::Config;

use super::support::*;

#[tokio::test]
async fn a_type_is_told_by_the_first_bytes() {
    let elf = elf();
    let html = "<!DOCTYPE html>\n<p>Bonjour".as_bytes();
    let utf16: Vec<u8> = "\u{feff}é;1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_page: Vec<u8> = "\u{feff}<script>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (content, expected) in [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (PDF, "application/pdf"),
        (TAR, "application/x-tar"),
        (TAR_GZ, "application/gzip"),
        (BZ2, "application/x-bzip2"),
        (XZ, "application/x-xz"),
        (WAV, "audio/wav"),
        (SQLITE, "application/vnd.sqlite3"),
        (ZIP, "application/zip"),
        (JAR, "application/zip"),
        (ODG, "application/zip"),
        (DOCX, DOCX_TYPE),
        (XLSX, XLSX_TYPE),
        (PPTX, PPTX_TYPE),
        (ODT, "application/vnd.oasis.opendocument.text"),
        (EPUB, "application/epub+zip"),
        (OLE, "application/x-ole-storage"),
        (&elf, "application/x-elf"),
        (EXE, "application/vnd.microsoft.portable-executable"),
        (b"\x00\x00\x00\x18ftypdby1\x00\x00\x00\x00", "video/mp4"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "image/heif"),
        (ISOM, "video/mp4"),
        (BIG_TIFF, "image/tiff"),
        (b"MM\x00+\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10", "image/tiff"),
        (b"II*\x00\x10\x00\x00\x00CRAB\x00\x00", "image/tiff"),
        (RF64, "audio/wav"),
        (PARQUET, "application/vnd.apache.parquet"),
        (MP3[0], "audio/mpeg"),
        (MP3[1], "audio/mpeg"),
        (MP3[2], "audio/mpeg"),
        (b"\xff\xf1P\x80\x00\x00", "audio/aac"),
        (b"\xff\xea\x90d\x00\x00", "application/octet-stream"),
        (b"\xff\xfa\xf0d\x00\x00", "application/octet-stream"),
        (b"{\"a\": 1}", "text/plain"),
        ("société;solde\nAcmé;1\n".as_bytes(), "text/plain"),
        (b"soci\xe9t\xe9;solde\n", "text/plain"),
        (&utf16, "text/plain"),
        (b"", "text/plain"),
        (b"#!/usr/bin/env python3\nprint()\n", "text/x-shellscript"),
        (b"#![forbid(unsafe_code)]\n", "text/plain"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "application/x-pem-file"),
        (b"{\\rtf1\\ansi Bonjour}", "application/rtf"),
        (html, "text/html"),
        (&utf16_page, "text/html"),
        (b"<?xml version='1.0'?><feed/>", "application/xml"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (UNTOLD, "application/octet-stream"),
    ] {
        assert_eq!(seen(content).await, expected, "{}", content.escape_ascii());
    }
}

/// They would be a bitmap, a program, a picture, a sound, a database and LLVM bitcode by their first letters alone.
#[tokio::test]
async fn a_text_is_text_whatever_letters_it_begins_with() {
    for text in
        ["BM", "BMW sells cars", "MZ is a prefix", "GIF87a is old", "ID3 tags", "SQLite format", "BC is a province"]
    {
        assert_eq!(seen(text.as_bytes()).await, "text/plain", "{text}");
    }
    for text in [
        &b"MZ;libell\xe9\n1;\xe9\n"[..],
        b"ID3;\xe9",
        b"BMW;s\xe9rie 3",
        b"PAR1;\xe9",
        b"\xff\xfba\xe9",
        b"\xff\xfaa\xe9",
    ] {
        assert_eq!(seen(text).await, "text/plain", "{}", text.escape_ascii());
    }
    assert_eq!(seen(b"a PDF begins with %PDF-1.4").await, "text/plain");
    assert_eq!(seen(b"  %PDF-1.4\nin ASCII alone").await, "application/pdf");
}

#[tokio::test]
async fn a_character_that_the_end_of_the_first_bytes_cuts_is_no_harm() {
    for before in 0..4 {
        let text = "ID3".to_owned() + &" ".repeat(before) + &"é😀".repeat(4000);
        assert_eq!(seen(text.as_bytes()).await, "text/plain");
    }
    for before in 0..4 {
        let text = "\u{feff}".to_owned() + &" ".repeat(before) + &"é😀".repeat(4000);
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(seen(&units).await, "text/plain");
    }
    assert_eq!(seen(b"\xff\xfe\x00\x01\x00\xd8 no UTF-16").await, "application/octet-stream");
    assert_eq!(seen(b"text with a \x00 and half a \xc3").await, "application/octet-stream");
}

#[tokio::test]
async fn the_first_eight_kibibytes_are_all_that_is_read() {
    let far = file("film.png", &[PNG, &vec![0; 100_000]].concat()).breaking_at(8 * 1024);
    assert_eq!(codes(Config::default(), far).await, [""; 0]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn this_very_program_is_seen_to_be_one() {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(seen(&program).await, "application/x-elf");
}

fn samples() -> impl Strategy<Value = Vec<u8>> {
    let samples = [PNG, TAR, TAR_GZ, WAV, SQLITE, ZIP, DOCX, XLSX, ODT, EPUB, PDF, JPEG, OLE, EXE];
    let sample = prop::sample::select(samples.to_vec());
    (sample, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(sample, cut, tail)| {
        let mut content = sample[..cut.index(sample.len() + 1)].to_vec();
        content.extend(tail);
        content
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever there is, there is a type of it, which agrees with itself.
    #[test]
    fn every_content_has_a_type_that_agrees_with_itself(
        content in prop_oneof![samples(), prop::collection::vec(any::<u8>(), 0..200), "\\PC{0,60}".prop_map(String::into_bytes)]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let name = seen(&content).await;
            let itself = file("without-extension", &content).declared(&name);
            prop_assert_eq!(codes(lists(&[&name], &[]), itself).await, [""; 0]);
            Ok(())
        })?;
    }
}
