//! From a checked configuration to a running gateway, and down again. This is the one place, beside the command line, that knows every
//! module: it builds the services ([`services`]), swaps what a reload changes ([`reload`]) and answers the operator's
//! socket ([`control`]).

pub mod control;
mod reload;
mod services;
mod work;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::catalog;
use crate::config::{Config, LoadOptions};
use crate::fault::Fault;
use crate::http::app::Site;
use crate::http::listen::{self, BindError};
use crate::http::server;
use reload::Reloader;
use services::Services;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data folder {} cannot be used: {error}; make it writable for this user, or name another one as `data_dir`", .path.display())]
    DataFolder { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Catalog(#[from] catalog::OpenError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("{0}")]
    Build(String),
    #[error("signals cannot be listened for: {0}")]
    Signals(io::Error),
}

/// Serves until SIGTERM or SIGINT, then drains. `ready` hears where the gateway listens.
pub async fn serve(
    options: LoadOptions,
    config: Config,
    ready: impl FnOnce(&Config, &[std::net::SocketAddr]),
) -> Result<(), StartError> {
    raise_file_limit();
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|error| StartError::DataFolder { path: config.data_dir.clone(), error })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;

    let stop = CancellationToken::new();
    let services = Services::open(&config)?;
    let listeners = listen::bind(&config.server.listen).await?;
    let started = services.start(&config, &stop).await?;
    let site = Site::new(started.app(&config)?);
    let drain = *config.server.deadlines.drain;
    let max_connections = config.server.max_connections;
    let control = control::Listener::bind(&config.data_dir)
        // Without it there is SIGHUP still. The system's limit on a socket's path is about a hundred bytes.
        .inspect_err(|error| tracing::warn!(%error, "`tidegate reload` will not reach this gateway; SIGHUP does"))
        .ok();
    ready(&config, listeners.addresses());
    let reloader = Arc::new(Reloader::new(options, config, started.clone(), site.clone()));
    let operator = Arc::new(control::Operator { reloader: reloader.clone(), gateway: started.gateway.clone() });
    let answering = control.map(|control| tokio::spawn(control.answer(operator)));

    let serving = tokio::spawn(server::serve(listeners, site, max_connections, stop.clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reloader.reload_and_log().await,
        }
    }
    tracing::info!(limit = ?drain, "stopping: no new connections; what is under way may end");
    stop.cancel();
    // Subscribers are told to come back, or their connections would be waited for.
    started.events.close();
    if let Some(answering) = answering {
        answering.abort();
    }
    match serving.await {
        Ok(drained) if drained.cut > 0 => {
            tracing::warn!(cut = drained.cut, "connections were cut at the end of the time for draining")
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the server ended badly"),
    }
    started.stop(drain.min(Duration::from_secs(10))).await;
    tracing::info!("stopped");
    Ok(())
}

/// Every connection and every upload under way takes a file: as many as the system grants this process.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on open files stays as it is");
        }
    }
}
