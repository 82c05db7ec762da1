//! `tidegate serve`, and `tidegate` alone.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::{refuse, refuse_config};
use crate::boot;
use crate::config::{Config, LoadOptions, load};
use crate::http::api::config::Dialect;

/// Our own messages; of the libraries, what is wrong.
const DEFAULT_FILTER: &str = "warn,tidegate=info";

/// How long the end of the process waits for threads that are not to be interrupted: a program that is being killed, a disk that hangs. What
/// they have not done by then is done at the next start, as after a crash.
const LAST_WORK: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Serve;

impl Serve {
    pub fn run(&self, options: LoadOptions) -> io::Result<ExitCode> {
        let config = match load(&options) {
            Ok(config) => config,
            Err(diagnostics) => return refuse_config(&diagnostics),
        };
        write!(io::stderr(), "{}", config.warnings)?;
        start_log(&options);
        #[cfg(feature = "crash-points")]
        if let Err(error) = crate::crash::arm() {
            return Ok(refuse(&error));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(boot::serve(options, config, welcome));
        runtime.shutdown_timeout(LAST_WORK);
        match served {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Ok(refuse(&error.to_string())),
        }
    }
}

/// Where it listens, and what to try first.
fn welcome(config: &Config, addresses: &[SocketAddr]) {
    let mut text = format!("Tidegate {} with {}\n", env!("CARGO_PKG_VERSION"), config.file);
    for address in addresses {
        text.push_str(&format!("  listens on http://{address}\n"));
    }
    let port = addresses.first().map_or(8000, SocketAddr::port);
    text.push_str(&format!("  documentation at http://localhost:{port}/docs\ntry:\n"));
    if config.apis.collection(Dialect::Relay).is_some() {
        text.push_str(&format!(
            "  curl -F 'file=@accounts.json' http://localhost:{port}/api/files/upload/my-company\n"
        ));
    }
    if config.apis.collection(Dialect::ChunkWriter).is_some() {
        text.push_str(&format!("  a browser at http://localhost:{port}/site_chunk_writer.html\n"));
    }
    if config.apis.collection(Dialect::FileUpload).is_some() {
        text.push_str(&format!("  curl http://localhost:{port}/fileupload/list_completed_uploads/\n"));
    }
    // Whoever closed standard output does not want to know.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    let _ = io::stdout().lock().flush();
}

fn start_log(options: &LoadOptions) {
    let filter = options.variables.get("TIDEGATE_LOG").map_or(DEFAULT_FILTER, String::as_str);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match options.variables.get("TIDEGATE_LOG_FORMAT").map(String::as_str) {
        Some("json") => builder.json().init(),
        _ => builder.init(),
    }
}
