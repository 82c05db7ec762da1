//! What `allow` and `deny` let pass: by the content, by its name, and as what it would be run.

use tidegate_plugin_media_type::Config;

use super::support::*;

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
