//! What answers requests: guard, routes, and errors in the dialect's shape, in this order. A reload builds a new
//! [`App`] and swaps it into the [`Site`]; connections stay, and a request keeps the one that it began with.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use poem::endpoint::BoxEndpoint;
use poem::error::RouteError;
use poem::http::{HeaderValue, StatusCode, Version, header};
use poem::{Endpoint, Request, Response};

use super::api::{self, Serving};
use super::config::{Deadlines, ServerConfig};
use super::errors::{Errors, panic_text};
use super::guard::{Guard, Verdict};
use super::health::{self, HealthApi, Readiness};
use super::incoming::BodyWatch;
use super::openapi::{Document, DocumentBuilder, DocumentConflict};
use super::refusal::Refusal;
use super::request_id::RequestId;
use super::routes::Routes;
use crate::auth::config::Anonymous;

const DESCRIPTION: &str = include_str!("description.md");

/// What generated clients call when they are told nothing else: where the gateway listens by default.
const DEFAULT_URL: &str = "http://localhost:8000";

pub struct App {
    routes: BoxEndpoint<'static>,
    guard: Guard,
    /// Whether requests without credentials are served, and there are no others yet.
    is_open: bool,
    errors: Errors,
    pub(super) deadlines: Deadlines,
}

/// Two dialects are at odds: a mistake of ours, found by the first test that mounts them.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    #[error(transparent)]
    Document(#[from] DocumentConflict),
    #[error("the document cannot be written as YAML")]
    Yaml(#[from] serde_yaml::Error),
    #[error("two paths cannot be told apart")]
    Routes(#[from] RouteError),
}

/// The document of everything that this build can serve, whatever the configuration has switched on.
pub fn document() -> Result<Document, DocumentConflict> {
    document_of(api::APIS.iter(), DEFAULT_URL)
}

/// All that the gateway serves under its current configuration: the dialects that are on, health, and the document of
/// them. (`/` stands for the place that the document was got from.)
pub fn routes(
    serving: &Serving,
    readiness: Arc<dyn Readiness>,
    public_url: Option<&str>,
) -> Result<(BoxEndpoint<'static>, Document), AssemblyError> {
    let gateway = serving.gateway.current();
    let is_on = |api: &&api::Api| (api.is_on)(&gateway.dialects);
    let document = document_of(api::APIS.iter().filter(is_on), public_url.unwrap_or("/"))?;
    let mounted = Routes::new().api(HealthApi::new(readiness));
    let mounted = api::APIS.iter().filter(is_on).fold(mounted, |routes, api| (api.mount)(routes, serving));
    Ok((document.serve(mounted)?.build()?, document))
}

fn document_of(apis: impl Iterator<Item = &'static api::Api>, url: &str) -> Result<Document, DocumentConflict> {
    let builder = apis.fold(DocumentBuilder::new(), |builder, api| (api.document)(builder));
    builder.api::<HealthApi>().finish(DESCRIPTION, url)
}

impl App {
    /// Everything that the gateway serves, behind guard and errors.
    pub fn assemble(
        serving: &Serving,
        readiness: Arc<dyn Readiness>,
        config: &ServerConfig,
        anonymous: Anonymous,
    ) -> Result<Self, AssemblyError> {
        let (routes, _) = routes(serving, readiness, config.public_url.as_ref().map(|url| url.as_str()))?;
        let is_open = anonymous != Anonymous::Nowhere;
        Ok(Self { is_open, ..Self::new(routes, Errors(api::SHAPES), config) })
    }

    /// `routes` come from [`super::routes::Routes::build`].
    pub fn new(routes: BoxEndpoint<'static>, errors: Errors, config: &ServerConfig) -> Self {
        Self { routes, guard: Guard::new(config), is_open: true, errors, deadlines: config.deadlines.clone() }
    }

    /// The answer, whatever happens.
    pub(super) async fn respond(&self, mut request: Request, id: &RequestId, body: Option<&BodyWatch>) -> Response {
        let (uri, version) = (request.uri().clone(), request.version());
        let path = uri.path();
        let cors = match self.guard.check(&request) {
            Verdict::Pass(cors) => cors,
            Verdict::Preflight(response) => return response,
            Verdict::Refuse(refusal) => return self.errors.render(path, id, refusal),
        };
        if !self.is_open && !health::PATHS.contains(&path) {
            let mut response = self.errors.render(path, id, no_anonymous());
            cors.apply(response.headers_mut());
            return response;
        }
        request.set_data(id.clone());
        let mut response = match AssertUnwindSafe(self.routes.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => self.errors.answer(path, id, error),
            Err(panic) => self.errors.render(path, id, Refusal::internal(panic_text(&*panic))),
        };
        // Whatever the handler made of a body that broke off: this is why it did.
        if body.is_some_and(BodyWatch::has_stalled) && !response.status().is_success() {
            response = self.errors.render(path, id, stalled());
            if version < Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        cors.apply(response.headers_mut());
        response
    }
}

fn no_anonymous() -> Refusal {
    let message = "this gateway serves no requests without credentials (`anonymous = \"nowhere\"` in its `[auth]`)";
    Refusal::new(StatusCode::FORBIDDEN, message)
}

fn stalled() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "no byte of the body came for too long; send the request again")
}

/// The current [`App`].
pub struct Site(ArcSwap<App>);

impl Site {
    pub fn new(app: App) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(app)))
    }

    /// For requests that begin from now on.
    pub fn swap(&self, app: App) {
        self.0.store(Arc::new(app));
    }

    pub(super) fn current(&self) -> Arc<App> {
        self.0.load_full()
    }
}
