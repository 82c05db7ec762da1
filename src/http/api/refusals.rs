//! What the domain refuses, as every dialect tells it: status, text, and the members beside the text. The shape
//! around them is each dialect's own ([`super::SHAPES`]).

use poem::http::StatusCode;
use poem_openapi::Object;
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::refusal::Refusal;
use crate::upload::port::Issue;
use crate::upload::{Incomplete, UploadError};

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let status = match &error {
            UploadError::Name(_) | UploadError::Field { .. } => StatusCode::BAD_REQUEST,
            UploadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Unknown => StatusCode::NOT_FOUND,
            UploadError::Conflict(_) | UploadError::Incomplete(_) => StatusCode::CONFLICT,
            UploadError::Denied(denial) => StatusCode::from_u16(denial.status).unwrap_or(StatusCode::FORBIDDEN),
            UploadError::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
            UploadError::Fault(fault) => return Self::from(fault),
        };
        let refusal = Self::new(status, error.to_string());
        match error {
            UploadError::Incomplete(Incomplete::Missing { numbers, .. }) => refusal.with_member("missing", numbers),
            UploadError::Rejected(issues) => refusal.with_member("issues", issues_value(issues)),
            _ => refusal,
        }
    }
}

/// What an admission hook says, for the document.
pub const DENIED: (u16, &str) = (
    403,
    "A file like this is not taken here; the message says why. (A hook may give another status from 400 to 499.)",
);

/// One thing that is wrong with a file.
#[derive(Debug, Object, Serialize)]
pub struct FileIssue {
    /// Where: `line:column`, or a JSON Pointer; empty for the whole.
    pub path: String,
    /// What kind of thing, stable.
    pub code: String,
    pub message: String,
}

impl From<Issue> for FileIssue {
    fn from(issue: Issue) -> Self {
        let Issue { path, code, message } = issue;
        Self { path, code, message }
    }
}

/// `issues`: what a validation found, each with its place, its code and its text.
fn issues_value(issues: Vec<Issue>) -> Value {
    let issues = issues.into_iter().map(FileIssue::from);
    issues.map(|issue| json!({ "path": issue.path, "code": issue.code, "message": issue.message })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultKind};
    use crate::files::port::Denial;
    use crate::name;

    #[test]
    fn every_outcome_has_its_status() {
        let field = UploadError::Field { field: "chunkNumber", message: "is no number".to_owned() };
        for (error, status) in [
            (UploadError::from(name::file_name("a/b").unwrap_err()), 400),
            (field, 400),
            (UploadError::TooLarge { limit: 1 }, 413),
            (UploadError::Unknown, 404),
            (UploadError::Conflict("no".to_owned()), 409),
            (UploadError::from(Incomplete::Empty), 409),
            (UploadError::Denied(Denial { status: 451, reason: "no".to_owned() }), 451),
            (UploadError::Rejected(Vec::new()), 422),
            (UploadError::from(Fault::new(FaultKind::Full, "write")), 507),
            (UploadError::from(Fault::new(FaultKind::Unavailable, "write")), 503),
            (UploadError::from(Fault::new(FaultKind::Broken, "write")), 500),
        ] {
            let text = error.to_string();
            assert_eq!(Refusal::from(error).status, status, "{text}");
        }
    }

    #[test]
    fn missing_parts_and_issues_stand_beside_the_text() {
        let missing = Incomplete::Missing { numbers: vec![2, 5], total: 2 };
        assert_eq!(Refusal::from(UploadError::from(missing)).members["missing"], json!([2, 5]));
        let issue = Issue { path: "1:2".into(), code: "json-syntax".into(), message: "no".into() };
        assert_eq!(
            Refusal::from(UploadError::Rejected(vec![issue])).members["issues"],
            json!([{ "path": "1:2", "code": "json-syntax", "message": "no" }])
        );
    }
}
