//! What the first bytes cannot tell: types that are built on another, which is what the bytes tell, and the names of their files say the
//! rest.

pub const CERTIFICATE: &str = "application/x-x509-ca-cert";
pub const OLE: &str = "application/x-ole-storage";
pub const PEM: &str = "application/x-pem-file";
pub const TEXT: &str = "text/plain";
pub const XML: &str = "application/xml";
pub const ZIP: &str = "application/zip";

const ASF: &str = "video/x-ms-asf";
const OGG: &str = "audio/ogg";
const RAR: &str = "application/vnd.rar";
const TIFF: &str = "image/tiff";

/// A type that only a name tells.
pub struct Named {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub extensions: &'static [&'static str],
    /// What its first bytes are told to be.
    pub base: &'static str,
    /// Whether a browser, a web server or who opens it runs it.
    pub runs: bool,
}

const fn on(
    base: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
    extensions: &'static [&'static str],
) -> Named {
    Named { name, aliases, extensions, base, runs: false }
}

const fn text(name: &'static str, aliases: &'static [&'static str], extensions: &'static [&'static str]) -> Named {
    on(TEXT, name, aliases, extensions)
}

const fn script(name: &'static str, aliases: &'static [&'static str], extensions: &'static [&'static str]) -> Named {
    Named { runs: true, ..text(name, aliases, extensions) }
}

#[rustfmt::skip]
pub const NAMED: &[Named] = &[
    // Text. What begins with `text/` or ends in `+xml` or `+json` is known to be text without standing here.
    text("application/graphql", &["text/x-graphql"], &["graphql", "graphqls", "gql"]),
    text("application/json", &["text/json", "application/x-json", "text/x-json"], &["json"]),
    text("application/json5", &["text/json5"], &["json5"]),
    text(
        "application/x-ndjson",
        &["application/jsonl", "application/jsonlines", "application/ndjson", "application/x-jsonlines", "text/jsonl", "text/x-ndjson"],
        &["ndjson", "jsonl"],
    ),
    text("application/sql", &["application/x-sql", "text/sql", "text/x-sql"], &["sql"]),
    text("application/toml", &["application/x-toml", "text/toml", "text/x-toml"], &["toml"]),
    text("application/x-latex", &["text/x-latex"], &["latex", "ltx"]),
    text("application/x-subrip", &["application/srt", "text/srt", "text/x-srt"], &["srt"]),
    text("application/x-tex", &["text/x-tex"], &["tex", "sty"]),
    text("application/xml-dtd", &["text/x-dtd"], &["dtd"]),
    text("application/yaml", &["application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml"], &["yaml", "yml"]),
    text(
        "audio/mpegurl",
        &["audio/x-mpegurl", "application/vnd.apple.mpegurl", "application/x-mpegurl"],
        &["m3u", "m3u8"],
    ),
    text("audio/x-scpls", &["audio/scpls"], &["pls"]),
    text("image/x-portable-anymap", &[], &["pnm"]),
    text("image/x-portable-bitmap", &[], &["pbm"]),
    text("image/x-portable-graymap", &[], &["pgm"]),
    text("image/x-portable-pixmap", &[], &["ppm"]),
    text("image/x-xbitmap", &["image/x-xbm", "image/xbm"], &["xbm"]),
    text("image/x-xpixmap", &["image/x-xpm", "image/xpm"], &["xpm"]),
    text("model/obj", &["text/prs.wavefront-obj"], &["obj"]),
    text("text/csv", &["application/csv", "application/x-csv", "text/x-csv", "text/comma-separated-values"], &["csv"]),
    text("text/markdown", &["text/x-markdown", "text/x-web-markdown"], &["md", "markdown", "mkd", "mdown", "mkdn"]),
    text("text/tab-separated-values", &["text/tsv", "text/x-tsv"], &["tsv"]),
    text(
        "text/typescript",
        &["application/typescript", "application/x-typescript", "text/x-typescript"],
        &["ts", "tsx", "cts"],
    ),
    text("text/vcard", &["text/x-vcard", "text/directory"], &["vcf", "vcard"]),
    text(
        "text/x-c",
        &["text/x-csrc", "text/x-chdr", "text/x-c++", "text/x-c++src", "text/x-c++hdr"],
        &["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx"],
    ),
    text("text/x-java", &["text/x-java-source"], &["java"]),
    text("text/x-log", &[], &["log"]),
    text("video/vnd.mpegurl", &["video/x-mpegurl"], &["m4u", "mxu"]),
    // Text that runs.
    script("application/hta", &["application/x-hta"], &["hta"]),
    script("application/x-asp", &["text/asp", "text/x-asp"], &["asp", "aspx", "ascx", "ashx", "asmx", "cshtml"]),
    script("application/x-bat", &["application/bat", "application/x-msdos-batch", "text/x-bat"], &["bat", "cmd", "com"]),
    script("application/x-cgi", &[], &["cgi", "fcgi"]),
    script("application/x-csh", &["text/x-csh", "text/x-script.csh"], &["csh"]),
    script("application/x-desktop", &["application/x-gnome-app-info"], &["desktop"]),
    script(
        "application/x-httpd-php",
        &["application/php", "application/x-php", "text/php", "text/x-php"],
        &["php", "php3", "php4", "php5", "php7", "php8", "phtml", "pht", "phps", "phar"],
    ),
    script("application/x-jsp", &["text/x-jsp"], &["jsp", "jspx"]),
    script("application/x-mswinurl", &["application/internet-shortcut", "text/x-uri"], &["url"]),
    script("application/x-powershell", &["text/x-powershell"], &["ps1", "psm1", "psd1"]),
    script("application/x-wsf", &[], &["wsf", "wsh"]),
    script(
        "text/javascript",
        &[
            "application/ecmascript", "application/javascript", "application/x-ecmascript", "application/x-javascript",
            "text/ecmascript", "text/jscript", "text/x-ecmascript", "text/x-javascript",
        ],
        &["js", "mjs", "cjs", "jse", "jsm", "jsx", "es"],
    ),
    script("text/scriptlet", &[], &["sct", "wsc"]),
    script("text/vbscript", &["application/x-vbscript", "text/x-vbscript"], &["vbs", "vbe"]),
    script("text/x-component", &[], &["htc"]),
    script("text/x-ms-regedit", &[], &["reg"]),
    script("text/x-perl", &["application/x-perl", "text/x-script.perl"], &["pl", "pm"]),
    script("text/x-python", &["application/x-python", "application/x-python-code", "text/x-script.python"], &["py", "pyw"]),
    script("text/x-ruby", &["application/x-ruby", "text/ruby"], &["rb"]),
    script("text/x-tcl", &["application/x-tcl", "text/x-script.tcl"], &["tcl", "tk"]),
    Named { runs: true, ..on(XML, "application/x-java-jnlp-file", &[], &["jnlp"]) },
    Named { runs: true, ..on(XML, "application/x-ms-application", &[], &["application"]) },
    Named { runs: true, ..on(XML, "application/x-ms-xbap", &[], &["xbap"]) },
    // XML.
    on(XML, "application/xslt+xml", &["text/xsl", "application/xslt"], &["xsl", "xslt"]),
    // Archives.
    on(ZIP, "application/java-archive", &["application/x-java-archive", "application/x-jar"], &["jar", "war", "ear"]),
    on(ZIP, "application/oxps", &[], &["oxps"]),
    on(ZIP, "application/vnd.android.package-archive", &[], &["apk"]),
    on(ZIP, "application/vnd.apple.keynote", &["application/x-iwork-keynote-sffkey"], &["key"]),
    on(ZIP, "application/vnd.apple.numbers", &["application/x-iwork-numbers-sffnumbers"], &["numbers"]),
    on(ZIP, "application/vnd.apple.pages", &["application/x-iwork-pages-sffpages"], &["pages"]),
    on(ZIP, "application/vnd.google-earth.kmz", &[], &["kmz"]),
    on(ZIP, "application/vnd.ms-xpsdocument", &[], &["xps"]),
    on(ZIP, "application/vnd.comicbook+zip", &["application/x-cbz"], &["cbz"]),
    on(ZIP, "application/x-xpinstall", &[], &["xpi"]),
    on(ZIP, "model/3mf", &["application/vnd.ms-package.3dmanufacturing-3dmodel+xml"], &["3mf"]),
    on(RAR, "application/vnd.comicbook-rar", &["application/x-cbr"], &["cbr"]),
    // Compound files.
    on(OLE, "application/msword", &["application/x-msword", "application/vnd.ms-word"], &["doc", "dot"]),
    on(
        OLE,
        "application/vnd.ms-excel",
        &["application/excel", "application/msexcel", "application/x-excel", "application/x-msexcel"],
        &["xls", "xlt", "xla"],
    ),
    on(OLE, "application/vnd.ms-outlook", &[], &["msg"]),
    on(
        OLE,
        "application/vnd.ms-powerpoint",
        &["application/mspowerpoint", "application/powerpoint", "application/x-mspowerpoint"],
        &["ppt", "pot", "pps"],
    ),
    on(OLE, "application/vnd.ms-project", &["application/msproj", "application/x-msproject"], &["mpp", "mpt"]),
    on(OLE, "application/vnd.visio", &["application/x-visio"], &["vsd", "vss", "vst"]),
    on(OLE, "application/x-msi", &["application/x-ms-installer", "application/x-windows-installer"], &["msi", "msp", "mst"]),
    on(OLE, "application/x-mspublisher", &["application/vnd.ms-publisher"], &["pub"]),
    // Pictures.
    on(TIFF, "image/x-adobe-dng", &["image/dng"], &["dng"]),
    on(TIFF, "image/x-nikon-nef", &["image/nef"], &["nef"]),
    on(TIFF, "image/x-nikon-nrw", &[], &["nrw"]),
    on(TIFF, "image/x-pentax-pef", &[], &["pef"]),
    on(TIFF, "image/x-samsung-srw", &[], &["srw"]),
    on(TIFF, "image/x-sony-arw", &["image/arw"], &["arw"]),
    // Films and sounds.
    on(OGG, "audio/speex", &["audio/x-speex"], &["spx"]),
    on(OGG, "video/ogg", &["video/x-ogg", "video/x-ogm"], &["ogv", "ogm"]),
    on("video/x-matroska", "audio/x-matroska", &["audio/matroska"], &["mka"]),
    on("video/webm", "audio/webm", &[], &["weba"]),
    on(ASF, "audio/x-ms-wma", &["audio/wma"], &["wma"]),
    // Keys and signatures.
    on(CERTIFICATE, "application/pkcs10", &["application/x-pkcs10"], &["csr", "p10"]),
    on(CERTIFICATE, "application/pkcs12", &["application/x-pkcs12"], &["p12", "pfx"]),
    on(CERTIFICATE, "application/pkcs7-mime", &["application/x-pkcs7-mime"], &["p7m", "p7c"]),
    on(CERTIFICATE, "application/pkcs7-signature", &["application/x-pkcs7-signature"], &["p7s"]),
    on(CERTIFICATE, "application/pkcs8", &[], &["p8", "key"]),
    on(CERTIFICATE, "application/pkix-crl", &["application/x-pkcs7-crl"], &["crl"]),
    on(CERTIFICATE, "application/x-pkcs7-certificates", &[], &["p7b", "spc"]),
    on(PEM, "application/pgp-keys", &[], &["asc"]),
    on(PEM, "application/pgp-signature", &[], &["asc", "sig"]),
];

/// What is known of the type `name`, if only a name tells it.
pub fn find(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.name == name)
}
