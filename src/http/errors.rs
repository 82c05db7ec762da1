//! The one place where an error becomes an answer. Whatever did not come as a typed answer of a handler (no such path,
//! wrong method, a body that cannot be read, a [`Refusal`], a panic) is rendered here in the shape that the path's dialect
//! has. What is internal goes to the log, and the client gets the request's id to ask by.

use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Error, Response};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::request_id::RequestId;

/// How errors look under some paths.
pub struct Shape {
    pub paths: &'static [PathRule],
    /// The JSON body; the refusal's members are added to it afterwards.
    pub body: fn(&Refusal) -> Value,
}

/// Which paths a [`Shape`] is for; a trailing slash makes no difference.
#[derive(Debug, Clone, Copy)]
pub enum PathRule {
    Exact(&'static str),
    /// The path itself and all below it.
    Under(&'static str),
}

impl PathRule {
    fn covers(self, path: &str) -> bool {
        match self {
            PathRule::Exact(exact) => path == exact || (exact.len() > 1 && path.strip_suffix('/') == Some(exact)),
            PathRule::Under(prefix) => {
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// The shapes by path; [`crate::http::api::SHAPES`] in the gateway.
#[derive(Clone, Copy)]
pub struct Errors(pub &'static [Shape]);

impl Errors {
    /// An error of poem, of an extractor or of ours as the answer. Typed answers pass through as they are.
    pub fn answer(&self, path: &str, id: &RequestId, error: Error) -> Response {
        if error.is_from_response() {
            return error.into_response();
        }
        match error.downcast::<Refusal>() {
            Ok(refusal) => self.render(path, id, refusal),
            Err(error) => self.render(path, id, from_poem(&error)),
        }
    }

    /// A refusal as the answer.
    pub fn render(&self, path: &str, id: &RequestId, mut refusal: Refusal) -> Response {
        log(path, id, &refusal);
        if refusal.status == StatusCode::INTERNAL_SERVER_ERROR {
            refusal.message = format!("internal error; the log says more under request {}", id.as_str());
        }
        let (content_type, mut body) = match self.shape(path) {
            Some(shape) => ("application/json", (shape.body)(&refusal)),
            None => ("application/problem+json", problem(&refusal)),
        };
        if let Value::Object(object) = &mut body {
            object.append(&mut refusal.members);
        }
        let mut response = Response::builder().status(refusal.status).content_type(content_type).body(body.to_string());
        let headers = response.headers_mut();
        for (name, value) in refusal.headers {
            headers.append(name, value);
        }
        if matches!(refusal.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("5"));
        }
        response
    }

    fn shape(&self, path: &str) -> Option<&'static Shape> {
        self.0.iter().find(|shape| shape.paths.iter().any(|rule| rule.covers(path)))
    }
}

/// RFC 9457, for all that is no dialect of the field.
fn problem(refusal: &Refusal) -> Value {
    json!({
        "type": "about:blank",
        "title": refusal.status.canonical_reason().unwrap_or("Error"),
        "status": refusal.status.as_u16(),
        "detail": refusal.message,
    })
}

fn log(path: &str, id: &RequestId, refusal: &Refusal) {
    let cause = refusal.cause.as_deref().unwrap_or(&refusal.message);
    if refusal.status.is_server_error() {
        tracing::error!(request_id = id.as_str(), path, status = refusal.status.as_u16(), cause, "a request failed");
    } else {
        tracing::debug!(
            request_id = id.as_str(),
            path,
            status = refusal.status.as_u16(),
            cause,
            "a request was refused"
        );
    }
}

/// poem's own errors, and whatever else was given a status.
fn from_poem(error: &Error) -> Refusal {
    let status = error.status();
    if status.is_server_error() {
        return Refusal { status, ..Refusal::internal(error.to_string()) };
    }
    let message = if error.is::<NotFoundError>() {
        "there is nothing at this path".to_owned()
    } else if error.is::<MethodNotAllowedError>() {
        "this path does not answer to this method".to_owned()
    } else {
        error.to_string()
    };
    Refusal::new(status, message)
}

/// What a handler's panic says, for the log.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("(no text)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultKind};
    use crate::http::api::SHAPES;

    async fn rendered(path: &str, refusal: Refusal) -> (u16, String, Value) {
        let response = Errors(SHAPES).answer(path, &RequestId::generate(), refusal.into());
        let content_type = response.content_type().unwrap_or_default().to_owned();
        let status = response.status().as_u16();
        (status, content_type, response.into_body().into_json().await.unwrap())
    }

    #[tokio::test]
    async fn each_path_has_its_dialects_shape() {
        let refusal = || Refusal::not_found("no").with_member("missing", vec![1, 2]);
        for (path, expected) in [
            ("/write_chunk", json!({"error": "no", "missing": [1, 2]})),
            ("/get_file/", json!({"error": "no", "missing": [1, 2]})),
            ("/fileupload/x/", json!({"status": "error", "message": "no", "missing": [1, 2]})),
            ("/fileupload", json!({"status": "error", "message": "no", "missing": [1, 2]})),
            ("/", json!({"detail": "no", "missing": [1, 2]})),
            ("/api/files/x", json!({"detail": "no", "missing": [1, 2]})),
        ] {
            assert_eq!(rendered(path, refusal()).await, (404, "application/json".into(), expected), "{path}");
        }
        for path in ["/fileuploads", "/api", "/write_chunk/x", "/v1/events", "//", ""] {
            let (_, content_type, body) = rendered(path, refusal()).await;
            assert_eq!(content_type, "application/problem+json", "{path}");
            assert_eq!(body["title"], "Not Found");
            assert_eq!(body["missing"], json!([1, 2]));
        }
    }

    #[tokio::test]
    async fn faults_have_their_status_and_keep_their_text() {
        for (kind, status) in [
            (FaultKind::Full, 507),
            (FaultKind::Unavailable, 503),
            (FaultKind::Broken, 500),
            (FaultKind::Obstructed, 409),
            (FaultKind::Mismatch, 500),
        ] {
            let (got, _, body) = rendered("/get_file", Fault::new(kind, "read /secret/path").into()).await;
            assert_eq!(got, status);
            assert!(!body.to_string().contains("secret"), "{body}");
        }
        let (_, _, body) = rendered("/get_file", Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "secret")).await;
        assert!(!body.to_string().contains("secret"), "{body}");
        assert!(body["error"].as_str().unwrap().contains("request "), "{body}");
    }
}
