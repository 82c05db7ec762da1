//! A reload: check, build beside, swap. What is wrong leaves the running gateway exactly as it was; what needs a restart is
//! named.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::services::{Started, gateway_of};
use crate::config::{self, Config, LoadOptions};
use crate::http::app::Site;

pub(super) struct Reloader {
    options: LoadOptions,
    started: Started,
    site: Arc<Site>,
    /// The configuration in force. One reload at a time.
    config: Mutex<Config>,
}

/// What a reload came to, in words for whoever asked for it.
pub(super) struct Reloaded {
    pub done: bool,
    pub text: String,
}

impl Reloader {
    pub(super) fn new(options: LoadOptions, config: Config, started: Started, site: Arc<Site>) -> Self {
        Self { options, started, site, config: Mutex::new(config) }
    }

    pub(super) async fn reload(&self) -> Reloaded {
        let mut config = self.config.lock().await;
        let new = match config::load(&self.options) {
            Ok(new) => new,
            Err(diagnostics) => return Reloaded { done: false, text: diagnostics.to_string() },
        };
        let needs_restart = config.restart_needed(&new);
        let current = self.started.gateway.current();
        let built = gateway_of(&new, &current).and_then(|gateway| {
            // The routes ask for the snapshot at each request, so it is swapped first.
            let before = self.started.gateway.swap(gateway);
            self.started.app(&new).inspect_err(|_| self.started.gateway.put_back(before))
        });
        let app = match built {
            Ok(app) => app,
            Err(error) => return Reloaded { done: false, text: format!("{error}\n") },
        };
        self.site.swap(app);
        self.started.events.set_keep(*new.events.keep);
        *self.started.expire_after.lock() = *new.staging.expire_after;
        *self.started.keep_done.lock() = *new.hooks.keep_done;
        self.started.run_follow_ups();
        let mut text = format!("{}reloaded {}\n", new.warnings, new.file);
        for key in &needs_restart {
            text.push_str(&format!("`{key}` changed too; that takes a restart\n"));
        }
        // Keys that need a restart are compared with what the process was started with, next time too.
        *config = new.keeping_started(&config);
        Reloaded { done: true, text }
    }

    pub(super) async fn reload_and_log(&self) {
        let Reloaded { done, text } = self.reload().await;
        match done {
            true => tracing::info!(result = text.trim_end(), "reload"),
            false => tracing::error!(result = text.trim_end(), "reload refused; everything is as it was"),
        }
    }
}
