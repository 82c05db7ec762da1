//! What the first bytes can tell: each type under the name that this check uses, the other names that it goes by, and the extensions
//! of its files.

/// A type that the first bytes can tell.
pub struct Told {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub extensions: &'static [&'static str],
}

const fn told(name: &'static str, aliases: &'static [&'static str], extensions: &'static [&'static str]) -> Told {
    Told { name, aliases, extensions }
}

#[rustfmt::skip]
pub const TOLD: &[Told] = &[
    // Text, and what text can be seen to be.
    told("text/plain", &[], &["txt", "text", "log", "pub", "vue", "svelte", "ejs", "hbs", "erb", "twig", "tpl"]),
    told(
        "text/html",
        &["application/html"],
        &["html", "htm", "shtml", "vue", "svelte", "ejs", "hbs", "erb", "twig", "tpl"],
    ),
    told("application/xhtml+xml", &[], &["xhtml", "xht", "html", "htm"]),
    told("application/xml", &["text/xml"], &["xml", "xsd", "xsl", "xslt", "asx"]),
    told("image/svg+xml", &["image/svg"], &["svg"]),
    told("text/x-shellscript", &["application/x-sh", "application/x-shellscript", "text/x-sh"], &["sh", "bash", "ksh", "zsh", "fish", "command", "run"]),
    told(
        "application/x-pem-file",
        &["application/pem-certificate-chain"],
        &["pem", "crt", "cer", "key", "csr", "crl", "asc", "pub", "p7b", "p7s"],
    ),
    // Documents.
    told("application/pdf", &["application/x-pdf"], &["pdf", "ai"]),
    told("application/postscript", &["application/eps", "application/x-eps", "image/x-eps"], &["ps", "eps", "ai"]),
    told("application/rtf", &["text/rtf", "application/x-rtf"], &["rtf", "doc"]),
    told("application/epub+zip", &[], &["epub"]),
    told("application/x-mobipocket-ebook", &[], &["mobi", "prc", "azw", "azw3"]),
    told("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &[], &["docx"]),
    told("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &[], &["xlsx"]),
    told("application/vnd.openxmlformats-officedocument.presentationml.presentation", &[], &["pptx"]),
    told("application/vnd.oasis.opendocument.text", &[], &["odt"]),
    told("application/vnd.oasis.opendocument.spreadsheet", &[], &["ods"]),
    told("application/vnd.oasis.opendocument.presentation", &[], &["odp"]),
    told("application/x-ole-storage", &["application/x-cfb"], &["ole", "db"]),
    // Pictures.
    told("image/jpeg", &["image/jpg", "image/pjpeg", "image/x-jpeg"], &["jpg", "jpeg", "jpe", "jfif", "pjpeg"]),
    told("image/png", &["image/x-png", "image/apng", "image/vnd.mozilla.apng"], &["png", "apng"]),
    told("image/gif", &[], &["gif"]),
    told("image/webp", &[], &["webp"]),
    told("image/tiff", &["image/tif", "image/x-tiff"], &["tif", "tiff", "dng", "nef", "nrw", "arw", "pef", "srw"]),
    told("image/x-canon-cr2", &[], &["cr2"]),
    told("image/x-canon-cr3", &[], &["cr3"]),
    told("image/bmp", &["image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp"], &["bmp", "dib"]),
    told("image/vnd.ms-photo", &["image/jxr"], &["jxr", "hdp", "wdp"]),
    told("image/vnd.adobe.photoshop", &["image/psd", "image/x-psd", "application/x-photoshop", "application/photoshop"], &["psd", "psb"]),
    told("image/vnd.microsoft.icon", &["image/x-icon", "image/ico"], &["ico"]),
    told("image/heif", &["image/heic", "image/heif-sequence", "image/heic-sequence"], &["heif", "heic", "hif", "heifs", "heics"]),
    told("image/avif", &["image/avif-sequence"], &["avif", "avifs"]),
    told(
        "image/jp2",
        &["image/jpeg2000", "image/jpeg2000-image", "image/x-jpeg2000-image", "image/jpx", "image/jpm"],
        &["jp2", "jpx", "jpf", "jpm", "jpg2"],
    ),
    told("image/jxl", &[], &["jxl"]),
    told("image/openraster", &[], &["ora"]),
    told("image/vnd.djvu", &["image/x-djvu", "image/x.djvu"], &["djvu", "djv"]),
    told("image/vnd.dwg", &["application/acad", "application/x-acad", "application/dwg", "image/x-dwg"], &["dwg"]),
    told("application/dicom", &["image/dicom"], &["dcm", "dicom"]),
    // Films and sounds.
    told("video/mp4", &["application/mp4"], &["mp4", "m4s", "mp4v", "mpg4", "f4v", "f4p"]),
    told("video/x-m4v", &[], &["m4v"]),
    told("video/quicktime", &[], &["mov", "qt"]),
    told("video/3gpp", &["audio/3gpp", "video/3gpp2", "audio/3gpp2"], &["3gp", "3gpp", "3g2", "3gpp2"]),
    told("video/x-matroska", &["video/matroska"], &["mkv", "mk3d", "mka", "mks"]),
    told("video/webm", &[], &["webm", "weba"]),
    told("video/x-msvideo", &["video/avi", "video/msvideo", "video/vnd.avi"], &["avi"]),
    told("video/x-ms-asf", &["video/x-ms-wmv", "application/vnd.ms-asf"], &["asf", "asx", "wmv", "wma"]),
    told("video/mpeg", &["video/x-mpeg", "video/mp2p"], &["mpg", "mpeg", "mpe", "m1v", "m2v", "vob"]),
    told("video/x-flv", &["video/flv"], &["flv"]),
    told("audio/midi", &["audio/mid", "audio/x-midi", "application/x-midi"], &["mid", "midi", "kar", "rmi"]),
    told(
        "audio/mpeg",
        &["audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3", "audio/x-mpeg-3"],
        &["mp3", "mpga", "mp2", "mp2a", "m2a", "m3a"],
    ),
    told("audio/mp4", &["audio/m4a", "audio/x-m4a", "audio/m4b", "audio/x-m4b", "audio/x-m4r"], &["m4a", "m4b", "m4p", "m4r", "mp4a", "mp4"]),
    told("audio/ogg", &["application/ogg", "application/x-ogg", "audio/vorbis", "audio/x-vorbis+ogg"], &["ogg", "oga", "ogv", "ogm", "ogx", "opus", "spx"]),
    told("audio/opus", &["audio/x-opus+ogg"], &["opus"]),
    told("audio/flac", &["audio/x-flac"], &["flac"]),
    told("audio/wav", &["audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"], &["wav", "wave", "bwf"]),
    told("audio/amr", &[], &["amr"]),
    told("audio/aac", &["audio/x-aac", "audio/aacp", "audio/x-hx-aac-adts"], &["aac", "adts"]),
    told("audio/aiff", &["audio/x-aiff"], &["aif", "aiff", "aifc"]),
    told("audio/x-dsf", &[], &["dsf"]),
    told("audio/x-ape", &[], &["ape"]),
    // Fonts.
    told("font/woff", &["application/font-woff", "application/x-font-woff"], &["woff"]),
    told("font/woff2", &["application/font-woff2"], &["woff2"]),
    told("font/ttf", &["application/x-font-ttf", "application/x-font-truetype"], &["ttf"]),
    told("font/otf", &["application/x-font-otf", "application/x-font-opentype", "application/vnd.ms-opentype"], &["otf"]),
    told("application/vnd.ms-fontobject", &[], &["eot"]),
    // Archives and packages.
    told("application/zip", &["application/x-zip", "application/x-zip-compressed"], &["zip"]),
    told("application/x-tar", &["application/x-gtar", "application/x-ustar"], &["tar", "gtar", "ova"]),
    told("application/x-par2", &[], &["par2"]),
    told("application/vnd.rar", &["application/x-rar", "application/x-rar-compressed", "application/rar"], &["rar", "cbr"]),
    told(
        "application/gzip",
        &["application/x-gzip", "application/x-tgz", "application/x-compressed", "application/x-compressed-tar"],
        &["gz", "tgz", "svgz", "emz"],
    ),
    told(
        "application/x-bzip2",
        &["application/bzip2", "application/x-bzip", "application/x-bzip-compressed-tar"],
        &["bz2", "bz", "tbz", "tbz2"],
    ),
    told("application/vnd.bzip3", &[], &["bz3"]),
    told("application/x-7z-compressed", &[], &["7z", "cb7"]),
    told("application/x-xz", &["application/xz", "application/x-xz-compressed-tar"], &["xz", "txz"]),
    told("application/zstd", &["application/x-zstd"], &["zst", "tzst"]),
    told("application/x-lz4", &["application/lz4"], &["lz4"]),
    told("application/x-lzip", &["application/lzip"], &["lz", "tlz"]),
    told("application/x-compress", &[], &["z", "taz"]),
    told("application/x-cpio", &[], &["cpio"]),
    told("application/x-unix-archive", &["application/x-archive"], &["a", "ar", "lib"]),
    told("application/vnd.debian.binary-package", &["application/x-deb", "application/x-debian-package"], &["deb", "udeb"]),
    told("application/x-rpm", &["application/x-redhat-package-manager"], &["rpm"]),
    told("application/vnd.ms-cab-compressed", &["application/x-cab"], &["cab"]),
    told("application/x-google-chrome-extension", &["application/x-chrome-extension"], &["crx"]),
    told("application/x-qemu-disk", &[], &["qcow", "qcow2"]),
    told("application/vnd.apache.parquet", &["application/x-parquet", "application/parquet"], &["parquet"]),
    told("application/vnd.sqlite3", &["application/x-sqlite3"], &["sqlite", "sqlite3", "db", "db3", "gpkg", "mbtiles"]),
    // Programs.
    told(
        "application/x-elf",
        &["application/x-executable", "application/x-sharedlib", "application/x-pie-executable", "application/x-object"],
        &["elf", "so", "o", "ko", "out", "run", "appimage"],
    ),
    told(
        "application/vnd.microsoft.portable-executable",
        &["application/x-msdownload", "application/x-msdos-program", "application/x-dosexec", "application/exe", "application/x-exe"],
        &["exe", "dll", "sys", "scr", "ocx", "cpl", "efi", "com", "mui", "drv"],
    ),
    told("application/x-mach-binary", &["application/x-mach-o"], &["mach", "dylib", "macho"]),
    told("application/java-vm", &["application/java", "application/x-java-applet", "application/java-byte-code"], &["class"]),
    told("application/vnd.android.dex", &[], &["dex"]),
    told("application/vnd.android.dey", &[], &["dey", "odex"]),
    told("application/wasm", &[], &["wasm"]),
    told("application/x-llvm", &[], &["bc"]),
    told("application/x-shockwave-flash", &["application/vnd.adobe.flash.movie"], &["swf"]),
    told("application/x-nintendo-nes-rom", &[], &["nes"]),
    // Keys.
    told(
        "application/x-x509-ca-cert",
        &["application/pkix-cert", "application/x-x509-user-cert"],
        &["der", "crt", "cer", "p12", "pfx", "p7b", "p7s", "p7c", "p8", "crl", "csr", "key"],
    ),
];

/// Types some of whose files do not begin with the bytes that tell them, so that nothing told does not speak against them.
pub const ELUSIVE: &[&str] = &[
    "application/x-tar",
    "application/x-x509-ca-cert",
    "application/x-pem-file",
    "application/vnd.ms-cab-compressed",
    "audio/aac",
    "audio/mpeg",
    "video/mpeg",
    "image/x-portable-anymap",
    "image/x-portable-bitmap",
    "image/x-portable-graymap",
    "image/x-portable-pixmap",
];

/// Other types of extensions that stand in the tables: the first bytes tell nothing of them.
pub const OTHER_TYPES: &[(&str, &str)] = &[
    ("cgi", "application/octet-stream"),
    ("db", "application/octet-stream"),
    ("lib", "application/octet-stream"),
    ("obj", "application/octet-stream"),
    ("out", "application/octet-stream"),
    ("phar", "application/octet-stream"),
    ("pst", "application/octet-stream"),
    ("ts", "video/mp2t"),
];
