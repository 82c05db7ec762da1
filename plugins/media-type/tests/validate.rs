//! The check through the contract: what passes, what is refused and in which words, and the tricks.

use std::path::Path;

use proptest::prelude::*;
use tidegate_plugin_media_type::{Config, MediaType};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, ErrorKind, Issue, Plugin, Validate, Verdict};

const PNG: &[u8] = include_bytes!("samples/picture.png");
const TAR: &[u8] = include_bytes!("samples/archive.tar");
const TAR_GZ: &[u8] = include_bytes!("samples/archive.tar.gz");
const BZ2: &[u8] = include_bytes!("samples/notes.bz2");
const XZ: &[u8] = include_bytes!("samples/notes.xz");
const WAV: &[u8] = include_bytes!("samples/sound.wav");
const SQLITE: &[u8] = include_bytes!("samples/data.sqlite");
const ZIP: &[u8] = include_bytes!("samples/archive.zip");
const JAR: &[u8] = include_bytes!("samples/program.jar");
const DOCX: &[u8] = include_bytes!("samples/document.docx");
const XLSX: &[u8] = include_bytes!("samples/sheet.xlsx");
const PPTX: &[u8] = include_bytes!("samples/slides.pptx");
const ODT: &[u8] = include_bytes!("samples/text.odt");
const ODG: &[u8] = include_bytes!("samples/drawing.odg");
const EPUB: &[u8] = include_bytes!("samples/book.epub");

const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01";
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;";
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00\x00\x00";
const EXE: &[u8] = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00";
const UNTOLD: &[u8] = b"\x07\x13\x00\x99 of no known format \x00\xfe";

const DOCX_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const XLSX_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PPTX_TYPE: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

const BIG_TIFF: &[u8] = b"II+\x00\x08\x00\x00\x00\x10\x00\x00\x00";
const RF64: &[u8] = b"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00";
const PARQUET: &[u8] = b"PAR1\x15\x04\x15 \x15$L\x15\x04";
/// Frames of MPEG 1 with a checksum, of MPEG 2.5, and of layer II.
const MP3: [&[u8]; 3] = [b"\xff\xfa\x90d\x00\x00", b"\xff\xe3@\xc4\x00\x00", b"\xff\xfd\xa4\x00\x00\x00"];
/// MP4 by a brand that films, sounds and QuickTime have.
const ISOM: &[u8] = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42";

fn elf() -> Vec<u8> {
    [b"\x7fELF\x02\x01\x01\x00", &[0; 56][..]].concat()
}

fn media_type(config: Config) -> MediaType {
    assert_eq!(MediaType::check(&config, Path::new(".")), []);
    MediaType::build(config, Path::new(".")).unwrap()
}

fn lists(allow: &[&str], deny: &[&str]) -> Config {
    let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
    Config { allow: owned(allow), deny: owned(deny), ..Config::default() }
}

async fn issues(config: Config, file: MemoryFile) -> Vec<Issue> {
    match media_type(config).validate(&file).await.unwrap() {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(issues) => {
            assert!(!issues.is_empty());
            issues
        }
    }
}

async fn codes(config: Config, file: MemoryFile) -> Vec<String> {
    issues(config, file).await.into_iter().map(|issue| issue.code).collect()
}

fn file(name: &str, content: &[u8]) -> MemoryFile {
    MemoryFile::new(name, content.to_vec())
}

/// The type that the check sees in a content, as it says it.
async fn seen(content: &[u8]) -> String {
    let deny = lists(&[], &["*/*"]);
    let message = issues(deny, file("without-extension", content)).await.remove(0).message;
    message.split_whitespace().nth(3).unwrap().to_owned()
}

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

#[tokio::test]
async fn without_options_a_file_need_only_be_what_it_says() {
    let elf = elf();
    for (name, declared, content) in [
        ("a.png", "image/png", PNG),
        ("a.JPG", "image/jpg", JPEG),
        ("a.jpeg", "IMAGE/JPEG; q=1", JPEG),
        ("a.wav", "audio/x-wav", WAV),
        ("a.tgz", "application/x-gzip", TAR_GZ),
        ("a.tar.gz", "application/gzip", TAR_GZ),
        ("a.db", "application/x-sqlite3", SQLITE),
        ("a.docx", DOCX_TYPE, DOCX),
        ("a.docx", "application/zip", DOCX),
        ("a.docx", "application/octet-stream", DOCX),
        ("a.docm", "application/vnd.ms-word.document.macroEnabled.12", DOCX),
        ("a.xlsx", "application/x-zip-compressed", XLSX),
        ("a.docx", DOCX_TYPE, ZIP),
        ("a.jar", "application/java-archive", JAR),
        ("a.made-up", "application/vnd.made-up", ZIP),
        ("a.odg", "application/vnd.oasis.opendocument.graphics", ODG),
        ("a.odt", "application/vnd.oasis.opendocument.text", ODT),
        ("a.ott", "application/vnd.oasis.opendocument.text-template", ODT),
        ("a.epub", "application/epub+zip", EPUB),
        ("a.doc", "application/msword", OLE),
        ("a.xls", "application/vnd.ms-excel", OLE),
        ("a.msi", "application/octet-stream", OLE),
        ("a.ai", "application/pdf", PDF),
        ("a.so", "application/x-sharedlib", &elf),
        ("a.exe", "application/x-msdownload", EXE),
        ("a.bin", "application/octet-stream", &elf),
        ("a.json", "application/json", b"{}"),
        ("a.csv", "text/csv; charset=utf-8", b"a;b\n"),
        ("a.csv", "application/vnd.ms-excel", b"a;b\n"),
        ("a.ts", "text/plain", b"let a: number = 1"),
        ("a.py", "text/x-python", b"#!/usr/bin/python3\n"),
        ("a.txt", "text/plain", b"#!/bin/sh\n"),
        ("a.bat", "application/octet-stream", b"@echo off\r\n"),
        ("a.crt", "application/x-x509-ca-cert", b"-----BEGIN CERTIFICATE-----\n"),
        ("a.key", "application/pkcs8", b"-----BEGIN PRIVATE KEY-----\n"),
        ("a.rss", "application/rss+xml", b"<?xml version='1.0'?><rss/>"),
        ("a.csproj", "text/xml", b"<?xml version='1.0'?><Project/>"),
        ("README.md", "text/markdown", b"<html>"),
        ("README.md", "text/markdown", b"<p align=center>"),
        ("a.svg", "image/svg+xml", b"<svg/>"),
        ("a.made-up", "application/vnd.made-up", b"text"),
        ("a.made-up", "application/vnd.made-up", UNTOLD),
        ("a.iso", "application/x-iso9660-image", UNTOLD),
        ("a.mp3", "audio/mpeg", UNTOLD),
        ("a.mp3", "audio/mpeg", MP3[0]),
        ("a.tif", "image/tiff", BIG_TIFF),
        ("a.wav", "audio/wav", RF64),
        ("a.parquet", "application/x-parquet", PARQUET),
        ("a.csv", "text/csv", b"MZ;libell\xe9\n"),
        ("a.p12", "application/x-pkcs12", UNTOLD),
        ("a.flac", "audio/flac", b"ID3\x04\x00\x00\x00\x00\x00\x00"),
        ("a.txt", "text/plain", b""),
        ("without-extension", "", PNG),
        ("without-extension", "*/*", PNG),
    ] {
        let found = issues(Config::default(), file(name, content).declared(declared)).await;
        assert_eq!(found, [], "{name} {declared}");
        assert_eq!(issues(Config::default(), file(name, content)).await, [], "{name}");
    }
}

#[tokio::test]
async fn a_declared_type_that_the_content_is_not_is_refused() {
    for (declared, content) in [
        ("application/pdf", PNG),
        ("image/png", b"text"),
        ("image/png", b""),
        ("image/png", UNTOLD),
        ("application/zip", UNTOLD),
        ("application/java-archive", UNTOLD),
        ("text/plain", UNTOLD),
        ("text/csv", PNG),
        ("application/json", ZIP),
        (XLSX_TYPE, DOCX),
        (DOCX_TYPE, JPEG),
        (DOCX_TYPE, b"text"),
        ("video/made-up", b"text"),
        ("text/plain", b"<html>"),
        ("image/png", b"<svg/>"),
        ("application/zip", TAR_GZ),
        ("application/msword", ZIP),
        ("png", PNG),
        ("image/*", PNG),
        ("image/png, text/html", PNG),
    ] {
        let declared_file = file("without-extension", content).declared(declared);
        assert_eq!(codes(Config::default(), declared_file.clone()).await, ["media-type-declared"], "{declared}");
        let lenient = Config { match_declared: false, ..Config::default() };
        assert_eq!(codes(lenient, declared_file).await, [""; 0], "{declared}");
    }
}

#[tokio::test]
async fn an_extension_that_such_contents_do_not_have_is_refused() {
    let elf = elf();
    for (name, content) in [
        ("invoice.pdf", elf.as_slice()),
        ("invoice.pdf", EXE),
        ("invoice.pdf", b"text"),
        ("invoice.pdf.exe", PDF),
        ("invoice.exe. .", PDF),
        ("picture.jpg", PNG),
        ("picture.made-up", PNG),
        ("page.txt", b"<html><script>alert(1)</script>"),
        ("picture.txt", b"<svg onload='alert(1)'/>"),
        ("notes.txt", UNTOLD),
        ("sheet.xlsx", DOCX),
        ("sheet.docx", TAR_GZ),
        ("program.exe", b"text"),
        ("film.mp4", UNTOLD),
        ("picture.png", b""),
    ] {
        assert_eq!(codes(Config::default(), file(name, content)).await, ["media-type-extension"], "{name}");
        let lenient = Config { match_extension: false, ..Config::default() };
        assert_eq!(codes(lenient, file(name, content)).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn only_what_is_allowed_passes_and_what_is_denied_never_does() {
    for (allow, deny, name, content, passes) in [
        (&["image/*"][..], &[][..], "a.png", PNG, true),
        (&["image/*"], &["image/png"], "a.png", PNG, false),
        (&["image/*"], &["image/svg+xml"], "a.svg", b"<svg/>", false),
        (&["image/jpg"], &[], "a.jpg", JPEG, true),
        (&["image/jpg"], &[], "a.png", PNG, false),
        (&[], &["application/x-msdownload"], "a.exe", EXE, false),
        (&[], &["application/x-msdownload"], "a.png", PNG, true),
        (&["*/*"], &[], "a.made-up", UNTOLD, true),
        (&["application/octet-stream"], &[], "a.made-up", UNTOLD, true),
        (&["application/octet-stream"], &[], "a.png", PNG, false),
        (&[DOCX_TYPE], &[], "a.docx", DOCX, true),
        (&[DOCX_TYPE], &[], "a.docx", ZIP, false),
        (&["application/zip"], &[], "a.docx", DOCX, false),
        (&["text/*"], &[], "a.json", b"{}", true),
    ] {
        let expected: &[&str] = if passes { &[] } else { &["media-type-not-allowed"] };
        assert_eq!(codes(lists(allow, deny), file(name, content)).await, expected, "{name} {allow:?} {deny:?}");
    }
}

#[tokio::test]
async fn what_first_bytes_cannot_tell_apart_counts_as_what_its_name_says() {
    let refused: &[&str] = &["media-type-not-allowed"];
    for (allow, name, declared, content, expected) in [
        ("text/csv", "a.csv", "", &b"a;b"[..], &[][..]),
        ("text/csv", "a.json", "", b"a;b", refused),
        ("text/csv", "a.json", "text/csv", b"a;b", refused),
        ("text/csv", "without-extension", "text/csv", b"a;b", &[]),
        ("text/csv", "without-extension", "", b"a;b", refused),
        ("text/plain", "a.csv", "text/csv", b"a;b", &[]),
        ("application/json", "a.json", "application/octet-stream", b"{}", &[]),
        ("application/rss+xml", "a.rss", "", b"<?xml version='1.0'?><rss/>", &[]),
        ("application/java-archive", "a.jar", "", JAR, &[]),
        ("application/java-archive", "a.zip", "", JAR, refused),
        ("application/msword", "a.doc", "", OLE, &[]),
        ("application/msword", "a.xls", "", OLE, refused),
    ] {
        let declared_file = file(name, content).declared(declared);
        assert_eq!(codes(lists(&[allow], &[]), declared_file).await, expected, "{allow} {name} {declared}");
    }
    let deny = || lists(&[], &["application/java-archive", "text/javascript"]);
    assert_eq!(codes(deny(), file("a.jar", JAR)).await, refused);
    assert_eq!(codes(deny(), file("a.zip", JAR).declared("application/java-archive")).await, refused);
    assert_eq!(codes(deny(), file("a.js", b"alert(1)")).await, refused);
    assert_eq!(codes(deny(), file("a.txt", b"alert(1)").declared("text/javascript")).await, refused);
    assert_eq!(codes(deny(), file("a.zip", ZIP)).await, [""; 0]);
}

/// Each is one spelling of several, and not the one that the check uses, or one of a type that is seen to be another.
#[tokio::test]
async fn an_entry_works_whichever_name_of_its_type_it_is() {
    let refused: &[&str] = &["media-type-not-allowed"];
    let tiff = b"II*\x00\x08\x00\x00\x00\x00\x00\x00\x00";
    let der = b"0\x82\x04\x00\x02\x01\x03";
    let pem = b"-----BEGIN CERTIFICATE REQUEST-----\n";
    let script = b"#!/usr/bin/env python3\n";
    for (entry, name, content) in [
        ("application/javascript", "a.js", &b"alert(1)"[..]),
        ("text/javascript", "a.mjs", b"alert(1)"),
        ("application/x-msi", "a.msi", OLE),
        ("application/x-pkcs12", "a.p12", der),
        ("application/pkcs12", "a.pfx", der),
        ("application/pkcs10", "a.csr", der),
        ("application/pkcs10", "a.csr", pem),
        ("application/pkix-crl", "a.crl", der),
        ("application/x-x509-ca-cert", "a.crt", der),
        ("application/x-x509-ca-cert", "a.crt", pem),
        ("image/x-adobe-dng", "a.dng", tiff),
        ("image/x-sony-arw", "a.arw", tiff),
        ("image/x-nikon-nef", "a.nef", tiff),
        ("application/yaml", "a.yaml", b"a: 1"),
        ("text/x-yaml", "a.yml", b"a: 1"),
        ("application/toml", "a.toml", b"a = 1"),
        ("application/sql", "a.sql", b"select 1;"),
        ("application/x-ndjson", "a.jsonl", b"{}\n"),
        ("application/jsonl", "a.ndjson", b"{}\n"),
        ("application/xslt+xml", "a.xslt", b"<?xml version='1.0'?><x/>"),
        ("application/x-cbz", "a.cbz", ZIP),
        ("text/x-python", "a.py", b"print()"),
        ("text/x-python", "a.py", script),
        ("application/x-httpd-php", "a.php", b"<html><?php system('id');"),
        ("audio/speex", "a.spx", b"OggS\x00\x02\x00\x00"),
        ("model/3mf", "a.3mf", ZIP),
        ("application/vnd.apple.pages", "a.pages", ZIP),
        ("text/x-log", "a.log", b"started"),
        ("text/vcard", "a.vcf", b"BEGIN:VCARD"),
    ] {
        assert_eq!(codes(lists(&[entry], &[]), file(name, content)).await, [""; 0], "{entry} {name}");
        assert_eq!(codes(lists(&[], &[entry]), file(name, content)).await, refused, "{entry} {name}");
    }
}

/// No first bytes tell that a text holds no script further on, so a name that would have it run must be allowed itself.
#[tokio::test]
async fn a_text_that_its_name_would_have_run_must_be_allowed_as_that() {
    let far = format!("<!--{}-->", "x".repeat(9000));
    let (far_script, far_svg) = (format!("{far}<script>alert(1)</script>"), format!("{far}<svg onload='alert(1)'/>"));
    let xhtml = "<div xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></div>";
    for (name, content, entry) in [
        ("a.html", "<div><script>alert(1)</script>", "text/html"),
        ("a.html", "<img src=x onerror=alert(1)>", "text/html"),
        ("a.htm", far_script.as_str(), "text/html"),
        ("a.shtml", "hello", "text/html"),
        ("a.svg", far_svg.as_str(), "image/svg+xml"),
        ("a.svg", "<svg", "image/svg+xml"),
        ("a.xhtml", xhtml, "application/xhtml+xml"),
        ("a.xml", xhtml, "application/xml"),
        ("a.xsl", xhtml, "application/xslt+xml"),
        ("a.rss", xhtml, "application/rss+xml"),
        ("a.js", "alert(1)", "text/javascript"),
        ("a.mjs", "alert(1)", "text/javascript"),
        ("a.php", "<?php system(1);", "application/x-httpd-php"),
        ("a.phtml", "<?php system(1);", "application/x-httpd-php"),
        ("a.hta", "<hta:application>", "application/hta"),
        ("a.bat", "del x", "application/x-bat"),
        ("a.cmd", "del x", "application/x-bat"),
        ("a.vbs", "x = 1", "text/vbscript"),
        ("a.ps1", "rm x", "application/x-powershell"),
        ("a.py", "print()", "text/x-python"),
        ("a.sh", "rm x", "text/x-shellscript"),
    ] {
        let found = issues(lists(&["text/plain"], &[]), file(name, content.as_bytes())).await;
        assert!(matches!(&found[..], [issue] if issue.code == "media-type-not-allowed"), "{name}: {found:?}");
        assert!(found[0].message.contains("to be run as "), "{}", found[0].message);
        for allow in [&[entry][..], &["text/plain", entry], &["*/*"], &[]] {
            assert_eq!(issues(lists(allow, &[]), file(name, content.as_bytes())).await, [], "{name} {allow:?}");
        }
    }
    for name in ["a.txt", "a.csv", "a.md", "a.json", "a.yaml", "a.css", "a.vue", "a.made-up", "without-extension"] {
        assert_eq!(codes(lists(&["text/plain"], &[]), file(name, b"hello")).await, [""; 0], "{name}");
    }
}

/// What the content is seen to be may itself be run, but elsewhere.
#[tokio::test]
async fn what_is_run_in_one_way_is_not_allowed_to_be_run_in_another() {
    let refused: &[&str] = &["media-type-not-allowed"];
    let xml = b"<?xml version='1.0'?><x xmlns='http://www.w3.org/1999/xhtml'><script>1</script></x>";
    for (allow, name, content, expected) in [
        ("application/xml", "a.xml", &xml[..], &[][..]),
        ("application/xml", "a.rss", xml, &[]),
        ("application/xml", "a.html", xml, refused),
        ("application/xml", "a.svg", xml, refused),
        ("application/xml", "a.php", xml, refused),
        ("application/x-pem-file", "a.html", b"-----BEGIN x\n<script>", refused),
        ("application/x-pem-file", "a.pem", b"-----BEGIN CERTIFICATE-----\n", &[]),
        ("text/x-shellscript", "a.html", b"#!/x\n<script>", refused),
        ("text/x-shellscript", "a.py", b"#!/usr/bin/python3\n", refused),
        ("text/x-shellscript", "a.sh", b"#!/bin/sh\n", &[]),
        ("text/html", "a.php", b"<html><?php system('id');", refused),
        ("text/html", "a.php", b"<?php system('id');", refused),
        ("text/html", "a.html", b"<html>", &[]),
        ("text/*", "a.html", b"<div>", &[]),
        ("text/*", "a.svg", b"<svg", refused),
        ("image/*", "a.svg", b"<svg", refused),
        ("image/*", "a.svg", b"<svg>", &[]),
    ] {
        assert_eq!(codes(lists(&[allow], &[]), file(name, content)).await, expected, "{allow} {name}");
    }
    let declared = |declared| file("without-extension", b"<div>").declared(declared);
    assert_eq!(codes(lists(&["text/plain"], &[]), declared("text/html")).await, refused);
    assert_eq!(codes(lists(&["text/plain"], &[]), declared("text/csv")).await, [""; 0]);
}

/// Whatever else the first bytes leave open, what a file's name says is denied is.
#[tokio::test]
async fn what_a_name_says_is_denied_where_the_content_can_be_that() {
    let refused: &[&str] = &["media-type-not-allowed"];
    for (entry, name, content) in [
        ("text/markdown", "a.md", &b"<html>"[..]),
        ("audio/mpeg", "a.mp3", UNTOLD),
        ("application/x-pkcs12", "a.p12", UNTOLD),
        ("application/vnd.ms-excel", "a.xls", b"a\tb"),
        (DOCX_TYPE, "a.docx", ZIP),
    ] {
        assert_eq!(codes(lists(&[], &[entry]), file(name, content)).await, refused, "{entry} {name}");
    }
    let old_excel = || lists(&[], &["application/vnd.ms-excel"]);
    let from_windows = file("a.csv", b"a;b").declared("application/vnd.ms-excel");
    assert_eq!(codes(old_excel(), from_windows).await, [""; 0], "which is how Windows declares CSV");
    assert_eq!(
        codes(lists(&[], &["audio/*"]), file("a.mp4", ISOM)).await,
        [""; 0],
        "a `.mp4` may be a sound, but not one that is seen to be a film"
    );
}

/// Programs write films, sounds and pictures with each other's first bytes, so the name decides between them, and nothing else.
#[tokio::test]
async fn a_medium_counts_as_the_one_of_its_family_that_its_name_says() {
    let refused: &[&str] = &["media-type-not-allowed"];
    let quicktime = b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00";
    let opus = b"OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x13OpusHead\x01";
    for (allow, name, content, expected) in [
        ("audio/mp4", "a.m4a", ISOM, &[][..]),
        ("audio/mp4", "a.m4b", ISOM, &[]),
        ("audio/*", "a.m4a", ISOM, &[]),
        ("audio/*", "a.m4b", ISOM, &[]),
        ("video/quicktime", "a.mov", ISOM, &[]),
        ("video/3gpp", "a.3gp", ISOM, &[]),
        ("video/mp4", "a.mp4", quicktime, &[]),
        ("image/avif", "a.avif", b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", &[]),
        ("audio/flac", "a.flac", b"ID3\x04\x00\x00\x00\x00\x00\x00", &[]),
        ("audio/ogg", "a.ogg", opus, &[]),
        ("audio/ogg", "a.opus", opus, &[]),
        ("audio/*", "a.wma", b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel", &[]),
        ("video/*", "a.ogv", b"OggS\x00\x02\x00\x00", &[]),
        // A `.mp4` that is seen to be a film is one, though sounds can be called so.
        ("audio/mp4", "a.mp4", ISOM, refused),
        ("audio/*", "a.mp4", ISOM, refused),
        ("audio/*", "without-extension", ISOM, refused),
        // What is no medium counts as none, whatever its name.
        ("image/*", "a.ora", ZIP, refused),
        ("image/*", "a.ppm", b"text", refused),
        ("audio/*", "a.m3u", b"text", refused),
    ] {
        assert_eq!(codes(lists(&[allow], &[]), file(name, content)).await, expected, "{allow} {name}");
    }
    for (name, content) in [("a.m4a", EXE), ("a.mp3", EXE), ("a.m4a", ZIP), ("a.mp3", UNTOLD), ("a.m4a", b"<html>")] {
        let lenient = Config { match_extension: false, ..lists(&["audio/mp4", "audio/mpeg", "audio/*"], &[]) };
        assert_eq!(codes(lenient, file(name, content)).await, refused, "{name} {}", content.escape_ascii());
    }
    for (deny, name, content) in
        [("audio/mp4", "a.m4a", ISOM), ("audio/*", "a.m4b", ISOM), ("video/quicktime", "a.mov", ISOM)]
    {
        assert_eq!(codes(lists(&[], &[deny]), file(name, content)).await, refused, "{deny} {name}");
    }
}

#[tokio::test]
async fn a_made_up_type_does_not_pass_a_wildcard() {
    for (declared, content) in [("image/made-up+zip", ZIP), ("image/made-up+xml", b"text"), ("image/made-up", UNTOLD)] {
        let found = codes(lists(&["image/*"], &[]), file("without-extension", content).declared(declared)).await;
        assert_eq!(found, ["media-type-not-allowed"], "{declared}");
    }
}

/// One file, two formats: it is what it begins as.
#[tokio::test]
async fn a_polyglot_is_what_it_begins_as() {
    for (content, expected) in [
        // A picture that is a script.
        ("GIF89a/*comment*/=1;alert(1)".as_bytes().to_vec(), "text/plain"),
        // A picture, and an archive behind it.
        ([PNG, JAR].concat(), "image/png"),
        ([GIF, ZIP].concat(), "image/gif"),
        // A page that is a document, in text and with bytes that no text has.
        (b"<html><!--\n%PDF-1.4\n-->".to_vec(), "text/html"),
        ([b"<html><!--", PDF, b"\x00-->"].concat(), "text/html"),
        // A document behind a program, an archive, a picture.
        ([EXE, PDF].concat(), "application/vnd.microsoft.portable-executable"),
        ([b"\xc7\x71\x00\x00", PDF].concat(), "application/x-cpio"),
        ([JPEG, PDF].concat(), "image/jpeg"),
        // An archive whose first file has a name like a bitmap's, or bitcode's, beginning.
        ([b"BMW", &TAR[3..]].concat(), "application/x-tar"),
        ([b"BC.txt", &TAR[6..]].concat(), "application/x-tar"),
        // A document behind bytes that are nothing, or nearly something, or words.
        ([b"L\x01", PDF].concat(), "application/pdf"),
        (b"a line\n%PDF-1.4\n1 0 obj\n".to_vec(), "application/pdf"),
        ([UNTOLD, PDF].concat(), "application/pdf"),
    ] {
        assert_eq!(seen(&content).await, expected, "{}", content.escape_ascii());
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_and_in_full() {
    let disguised = file("invoice.pdf", &elf()).declared("application/pdf");
    let found = issues(lists(&["application/pdf", "image/*"], &[]), disguised).await;
    let expected = [
        (
            "media-type-not-allowed",
            "the content is application/x-elf (declared as application/pdf), allowed is application/pdf, image/*",
        ),
        (
            "media-type-declared",
            "the content is application/x-elf, but it was declared as application/pdf; allowed is application/pdf, image/*",
        ),
        (
            "media-type-extension",
            "the content is application/x-elf (declared as application/pdf), but the file's name ends in `.pdf`, which is for \
             application/pdf; allowed is application/pdf, image/*",
        ),
    ];
    let found: Vec<_> =
        found.iter().map(|issue| (issue.path.as_str(), issue.code.as_str(), issue.message.as_str())).collect();
    assert_eq!(found, expected.map(|(code, message)| ("", code, message)));
}

#[tokio::test]
async fn what_a_client_says_is_shown_short_and_escaped() {
    let rude = file("a.png", PNG).declared(&format!("\u{1b}[2J{}", "x".repeat(10_000)));
    let found = issues(Config::default(), rude).await;
    assert!(found[0].message.contains("\\u{1b}[2Jxx") && found[0].message.contains("which is no media type"));
    assert!(found[0].message.len() < 300, "{}", found[0].message);
    let long = file(&format!("a.{}", "é\n".repeat(5_000)), PNG);
    assert!(issues(Config::default(), long).await[0].message.len() < 500);
}

#[tokio::test]
async fn a_content_that_cannot_be_read_is_an_error_and_no_verdict() {
    let check = media_type(Config::default());
    let error = check.validate(&file("a.png", PNG).breaking_at(10)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true));
    check.close().await;
}

#[test]
fn an_instance_is_not_made_of_options_that_are_wrong() {
    let error = MediaType::build(lists(&["pdf"], &[]), Path::new(".")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
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
