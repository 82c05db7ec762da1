//! `/healthz` (the process answers) and `/readyz` (it can do its work), for supervisors and load balancers.

use std::sync::Arc;

use async_trait::async_trait;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::Serialize;

use super::typed::Json;

/// Supervisors have no credentials.
pub const PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// What the gateway looks at to say whether it is ready.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// What keeps the gateway from doing its work, in words for an operator; empty when it is ready.
    async fn problems(&self) -> Vec<String>;
}

pub struct HealthApi {
    readiness: Arc<dyn Readiness>,
}

impl HealthApi {
    pub fn new(readiness: Arc<dyn Readiness>) -> Self {
        Self { readiness }
    }
}

#[derive(Tags)]
enum HealthTags {
    /// For supervisors and load balancers.
    Operation,
}

/// Whether the gateway is up.
#[derive(Debug, Object, Serialize)]
struct Health {
    /// `ok`, `ready` or `not ready`.
    status: String,
    /// What keeps it from being ready.
    problems: Vec<String>,
}

#[derive(ApiResponse)]
enum Ready {
    /// It can do its work.
    #[oai(status = 200)]
    Yes(Json<Health>),
    /// It cannot, or is about to stop: send requests elsewhere.
    #[oai(status = 503)]
    No(Json<Health>),
}

#[OpenApi]
impl HealthApi {
    /// Whether the process answers
    #[oai(path = "/healthz", method = "get", operation_id = "health", tag = "HealthTags::Operation")]
    async fn health(&self) -> Json<Health> {
        Json(Health { status: "ok".to_owned(), problems: Vec::new() })
    }

    /// Whether the gateway can do its work
    #[oai(path = "/readyz", method = "get", operation_id = "ready", tag = "HealthTags::Operation")]
    async fn ready(&self) -> Ready {
        let problems = self.readiness.problems().await;
        match problems.is_empty() {
            true => Ready::Yes(Json(Health { status: "ready".to_owned(), problems })),
            false => Ready::No(Json(Health { status: "not ready".to_owned(), problems })),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::{Endpoint, Request};
    use serde_json::{Value, json};

    use super::*;
    use crate::http::routes::Routes;

    struct Says(Vec<String>);

    #[async_trait]
    impl Readiness for Says {
        async fn problems(&self) -> Vec<String> {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn readiness_names_its_problems() {
        let ask = async |path: &str, problems: Vec<String>| {
            let routes = Routes::new().api(HealthApi::new(Arc::new(Says(problems)))).build().unwrap();
            let response = routes.get_response(Request::builder().uri_str(path).finish()).await;
            (response.status().as_u16(), response.into_body().into_json::<Value>().await.unwrap())
        };
        let busy = || vec!["the catalog does not answer".to_owned()];
        assert_eq!(ask("/readyz", vec![]).await, (200, json!({"status": "ready", "problems": []})));
        assert_eq!(ask("/healthz", busy()).await, (200, json!({"status": "ok", "problems": []})));
        assert_eq!(ask("/readyz", busy()).await, (503, json!({"status": "not ready", "problems": busy()})));
    }
}
