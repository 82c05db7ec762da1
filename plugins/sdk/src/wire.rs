//! The questions and answers of the stages as JSON, for plugins whose code is elsewhere: a command, a server. A question is one object; an
//! answer is one object too, or nothing at all, which means yes.
//!
//! | stage | yes | else |
//! |---|---|---|
//! | `admit` | `{}` or `{"amend": {"file_name": "…", "content_type": "…"}}` | `{"deny": {"status": 403, "reason": "…"}}` |
//! | `validate` | `{}` | `{"reject": [{"path": "/a/0", "code": "too-old", "message": "…"}]}` |
//! | `post_assembly` | `{}` | `{"retry": {"reason": "…", "after": "30s"}}` or `{"give_up": {"reason": "…"}}` |
//!
//! Of an answer only what is named here may be left out; an unknown member is an error, for it may have been meant to say no.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admit::{Admission, Amendment, Announcement, Denial};
use crate::error::{ErrorKind, PluginError};
use crate::file::Metadata;
use crate::post_assembly::{FollowUp, Publication};
use crate::shown::shown;
use crate::stage::Stage;
use crate::units::Period;
use crate::validate::{Issue, Verdict};

/// So many issues of one answer are passed on.
const MOST_ISSUES: usize = 1_000;
/// Longer texts out of an answer are cut, in characters.
const LONGEST_TEXT: usize = 2_000;
/// What is wrong with an answer is said in at most so many characters: it repeats names and values out of it.
const LONGEST_COMPLAINT: usize = 300;

/// What is asked of a plugin, as one JSON object.
#[derive(Debug, Serialize)]
pub struct Question<'a> {
    /// `admit`, `validate` or `post_assembly`.
    pub stage: &'static str,
    #[serde(flatten)]
    about: About<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum About<'a> {
    Announcement(&'a Announcement),
    File(&'a Metadata),
    Published {
        #[serde(flatten)]
        file: &'a Metadata,
        #[serde(flatten)]
        publication: &'a Publication,
    },
}

impl<'a> Question<'a> {
    pub fn admit(file: &'a Announcement) -> Self {
        Self { stage: Stage::Admit.as_str(), about: About::Announcement(file) }
    }

    pub fn validate(file: &'a Metadata) -> Self {
        Self { stage: Stage::Validate.as_str(), about: About::File(file) }
    }

    pub fn post_assembly(file: &'a Metadata, publication: &'a Publication) -> Self {
        Self { stage: Stage::PostAssembly.as_str(), about: About::Published { file, publication } }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AdmissionAnswer {
    amend: Option<AmendmentAnswer>,
    deny: Option<DenialAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AmendmentAnswer {
    file_name: Option<String>,
    content_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DenialAnswer {
    #[serde(default = "forbidden")]
    status: u16,
    reason: String,
}

fn forbidden() -> u16 {
    403
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VerdictAnswer {
    reject: Option<Vec<IssueAnswer>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueAnswer {
    #[serde(default)]
    path: String,
    #[serde(default = "rejected")]
    code: String,
    message: String,
}

fn rejected() -> String {
    "rejected".to_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FollowUpAnswer {
    retry: Option<RetryAnswer>,
    give_up: Option<GiveUpAnswer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryAnswer {
    reason: String,
    #[serde(default)]
    after: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GiveUpAnswer {
    reason: String,
}

/// An answer at `admit`. An error where it is none.
pub fn admission(answer: &[u8]) -> Result<Admission, PluginError> {
    match parse::<AdmissionAnswer>(answer)? {
        AdmissionAnswer { deny: Some(_), amend: Some(_) } => Err(nonsense("it denies and amends at once")),
        AdmissionAnswer { deny: Some(DenialAnswer { status, .. }), .. } if !(400..=499).contains(&status) => {
            Err(nonsense(format!("it denies with the status {status}; one from 400 to 499 is expected")))
        }
        AdmissionAnswer { deny: Some(DenialAnswer { status, reason }), .. } => {
            Ok(Admission::Deny(Denial { status, reason: cut(reason) }))
        }
        AdmissionAnswer { amend, deny: None } => {
            let AmendmentAnswer { file_name, content_type } = amend.unwrap_or_default();
            Ok(Admission::Allow(Amendment { file_name, content_type }))
        }
    }
}

/// An answer at `validate`. An error where it is none.
pub fn verdict(answer: &[u8]) -> Result<Verdict, PluginError> {
    let Some(found) = parse::<VerdictAnswer>(answer)?.reject else { return Ok(Verdict::Accept) };
    if found.is_empty() {
        return Err(nonsense("it rejects the file for no reason: `reject` is empty"));
    }
    let issue = |IssueAnswer { path, code, message }| Issue { path: cut(path), code: cut(code), message: cut(message) };
    Ok(Verdict::Reject(found.into_iter().take(MOST_ISSUES).map(issue).collect()))
}

/// An answer at `post_assembly`. An error where it is none.
pub fn follow_up(answer: &[u8]) -> Result<FollowUp, PluginError> {
    match parse::<FollowUpAnswer>(answer)? {
        FollowUpAnswer { retry: Some(_), give_up: Some(_) } => Err(nonsense("it retries and gives up at once")),
        FollowUpAnswer { retry: Some(RetryAnswer { reason, after }), .. } => {
            Ok(FollowUp::Retry { reason: cut(reason), after: after.map(|after| *after) })
        }
        FollowUpAnswer { give_up: Some(GiveUpAnswer { reason }), .. } => Ok(FollowUp::GiveUp { reason: cut(reason) }),
        FollowUpAnswer { retry: None, give_up: None } => Ok(FollowUp::Done),
    }
}

fn parse<T: DeserializeOwned + Default>(answer: &[u8]) -> Result<T, PluginError> {
    if answer.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    // An object and nothing else: serde would read `[]` as one without any member, which is a yes.
    let object: Map<String, Value> = serde_json::from_slice(answer).map_err(|error| nonsense(error.to_string()))?;
    T::deserialize(Value::Object(object)).map_err(|error| nonsense(error.to_string()))
}

/// It may be another the next time: who answers nonsense is often just being started or replaced.
fn nonsense(what: impl AsRef<str>) -> PluginError {
    let what = shown(what.as_ref(), LONGEST_COMPLAINT);
    PluginError::retryable(ErrorKind::Unavailable, format!("the answer is none: {what}"))
}

fn cut(text: String) -> String {
    shown(&text, LONGEST_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_question_is_one_flat_object() {
        let announced = Announcement::new("1", "societes", "Acme", "a.json").with(Some(7), None);
        assert_eq!(
            serde_json::to_value(Question::admit(&announced)).unwrap(),
            json!({
                "stage": "admit", "id": "1", "collection": "societes", "tenant": "Acme", "file_name": "a.json", "size": 7,
                "content_type": null,
            })
        );
        let file = Metadata::new("societes", "Acme", "a.json", 7).with_id("2").with_content_type("text/plain");
        let published = Publication::new("2", "v", "2026-01-02T03:04:05.678+00:00", 3);
        assert_eq!(
            serde_json::to_value(Question::post_assembly(&file, &published)).unwrap(),
            json!({
                "stage": "post_assembly", "id": "2", "collection": "societes", "tenant": "Acme", "file_name": "a.json",
                "size": 7, "content_type": "text/plain", "version": "v", "sha256": null,
                "published": "2026-01-02T03:04:05.678+00:00", "attempt": 3,
            })
        );
    }

    #[test]
    fn nothing_is_yes() {
        for answer in ["", " \n", "{}"] {
            assert_eq!(admission(answer.as_bytes()).unwrap(), Admission::allow());
            assert_eq!(verdict(answer.as_bytes()).unwrap(), Verdict::Accept);
            assert_eq!(follow_up(answer.as_bytes()).unwrap(), FollowUp::Done);
        }
    }

    #[test]
    fn answers_say_no_and_more() {
        let denied = admission(br#"{"deny": {"reason": "not today"}}"#).unwrap();
        assert_eq!(denied, Admission::deny(403, "not today"));
        let amended = admission(br#"{"amend": {"file_name": "b.json"}}"#).unwrap();
        assert_eq!(amended, Admission::Allow(Amendment { file_name: Some("b.json".to_owned()), content_type: None }));
        let Verdict::Reject(issues) =
            verdict(br#"{"reject": [{"message": "m"}, {"path": "/a", "code": "c", "message": "n"}]}"#).unwrap()
        else {
            panic!("accepted")
        };
        assert_eq!((issues[0].code.as_str(), issues[1].path.as_str()), ("rejected", "/a"));
        let retry = follow_up(br#"{"retry": {"reason": "busy", "after": "30s"}}"#).unwrap();
        assert_eq!(retry, FollowUp::Retry { reason: "busy".to_owned(), after: Some(Duration::from_secs(30)) });
        assert_eq!(follow_up(br#"{"give_up": {"reason": "no"}}"#).unwrap(), FollowUp::give_up("no"));
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_not_a_yes() {
        for answer in
            ["[]", "{", "no", r#"{"denied": true}"#, r#"{"deny": {"reason": "x", "status": 200}}"#, r#"{"deny": {}}"#]
        {
            assert!(admission(answer.as_bytes()).is_err(), "{answer}");
        }
        for answer in ["null", r#"{"reject": []}"#, r#"{"rejected": []}"#, r#"{"reject": [{"code": "x"}]}"#] {
            assert!(verdict(answer.as_bytes()).is_err(), "{answer}");
        }
        for answer in ["1", r#"{"retry": {"reason": "x", "after": 30}}"#, r#"{"retry": {}}"#, r#"{"giveup": {}}"#] {
            assert!(follow_up(answer.as_bytes()).is_err(), "{answer}");
        }
        assert!(verdict(b"\xff").is_err());
    }

    /// The reader's errors repeat names and values as they are.
    #[test]
    fn what_is_wrong_is_said_in_short_and_without_what_moves_the_cursor() {
        let long = "x".repeat(100_000);
        let hostile = "a\u{1b}[2J\nINFO all is well\u{202e}";
        for answer in [
            json!({ hostile: 1 }),
            json!({ &long: 1 }),
            json!(hostile),
            json!(long),
            json!({ "deny": hostile, "reject": hostile, "retry": hostile }),
            json!({ "deny": &long, "reject": &long, "retry": &long }),
            json!({ "deny": { "reason": "x", "status": hostile }, "reject": [{ hostile: 1 }], "retry": { "reason": "x", "after": hostile } }),
            json!({ "deny": { &long: 1 }, "reject": [{ "message": [&long] }], "retry": { "reason": "x", "after": &long } }),
        ] {
            let answer = answer.to_string();
            let errors = [
                admission(answer.as_bytes()).unwrap_err(),
                verdict(answer.as_bytes()).unwrap_err(),
                follow_up(answer.as_bytes()).unwrap_err(),
            ];
            for said in errors.map(|error| error.to_string()) {
                assert!(said.chars().count() < 400, "{} characters: {said:.300}", said.len());
                assert!(!said.contains(|c: char| c.is_control() || c == '\u{202e}'), "{said:?}");
            }
        }
        let said = verdict(br#"{"accepted": true}"#).unwrap_err().to_string();
        assert!(said.contains("unknown field `accepted`, expected `reject`"), "{said}");
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut() {
        let Verdict::Reject(issues) = verdict(br#"{"reject": [{"message": "a\u001b[2Jb\n"}]}"#).unwrap() else {
            panic!()
        };
        assert_eq!(issues[0].message, "a [2Jb ");
        let many = vec![json!({ "message": "é".repeat(5_000) }); 1_500];
        let Verdict::Reject(issues) = verdict(json!({ "reject": many }).to_string().as_bytes()).unwrap() else {
            panic!("accepted")
        };
        assert_eq!((issues.len(), issues[0].message.chars().count()), (1_000, 2_001));
    }
}
