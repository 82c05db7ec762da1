//! What passes and what is refused where nothing is allowed or denied by name, and in which words.

use std::path::Path;

use tidegate_plugin_media_type::{Config, MediaType};
use tidegate_plugin_sdk::{Build, ErrorKind, Plugin, Validate};

use super::support::*;

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
