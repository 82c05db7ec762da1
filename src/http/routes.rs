//! The table of paths: typed APIs and the few plain endpoints (pages, WebSockets) beside them, put into one poem
//! route. A method that a path does not know is answered with `Allow`, HEAD by GET without its body.

use std::collections::HashMap;

use poem::endpoint::{BoxEndpoint, EndpointExt};
use poem::error::RouteError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoEndpoint, Request, Response, Result, Route};
use poem_openapi::OpenApi;
// What the typed query parameters read; `OpenApiService` inserts it, but cannot say which methods a path knows.
use poem_openapi::__private::UrlQuery;

use super::refusal::Refusal;

#[derive(Default)]
pub struct Routes {
    table: HashMap<String, HashMap<Method, BoxEndpoint<'static>>>,
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// All operations of a typed API.
    #[must_use]
    pub fn api(mut self, api: impl OpenApi) -> Self {
        api.add_routes(&mut self.table);
        self
    }

    /// An endpoint that is not in the document.
    #[must_use]
    pub fn at<E>(mut self, path: &str, method: Method, endpoint: E) -> Self
    where
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        let endpoint = endpoint.into_endpoint().map_to_response().boxed();
        self.table.entry(path.to_owned()).or_default().insert(method, endpoint);
        self
    }

    /// Fails where two paths cannot be told apart.
    pub fn build(self) -> Result<BoxEndpoint<'static>, RouteError> {
        let mut route = Route::new();
        for (path, methods) in self.table {
            route = route.try_at(path, Methods::new(methods))?;
        }
        Ok(route.boxed())
    }
}

/// What one path answers to.
struct Methods {
    endpoints: Vec<(Method, BoxEndpoint<'static>)>,
    allow: HeaderValue,
}

impl Methods {
    fn new(methods: HashMap<Method, BoxEndpoint<'static>>) -> Self {
        let mut names: Vec<String> = methods.keys().map(Method::to_string).collect();
        if methods.contains_key(&Method::GET) {
            names.push(Method::HEAD.to_string());
        }
        names.push(Method::OPTIONS.to_string());
        names.sort_unstable();
        names.dedup();
        let allow = HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { endpoints: methods.into_iter().collect(), allow }
    }

    fn find(&self, method: &Method) -> Option<&BoxEndpoint<'static>> {
        self.endpoints.iter().find(|(known, _)| known == method).map(|(_, endpoint)| endpoint)
    }
}

impl Endpoint for Methods {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        request.extensions_mut().insert(UrlQuery(query));
        if let Some(endpoint) = self.find(request.method()) {
            return endpoint.call(request).await;
        }
        match (request.method(), self.find(&Method::GET)) {
            (&Method::HEAD, Some(get)) => {
                // Ranges are defined for GET alone (RFC 9110, 14.2).
                request.headers_mut().remove(header::RANGE);
                request.set_method(Method::GET);
                let mut response = get.call(request).await?;
                response.set_body(());
                Ok(response)
            }
            (&Method::OPTIONS, _) => {
                Ok(Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, &self.allow).finish())
            }
            (method, _) => {
                let message = format!("this path does not answer to {method}");
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
                    .with_header(header::ALLOW, self.allow.clone())
                    .into())
            }
        }
    }
}
