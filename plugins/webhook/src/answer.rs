//! What an answer means at each stage. The bodies themselves are read by the contract's [`wire`].

use std::fmt::Write as _;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use tidegate_plugin_sdk::{Admission, ErrorKind, FollowUp, PluginError, Verdict, wire};

use crate::sender::{Answer, End, Failure, LONGEST_WAIT, MAX_ANSWER, Sender};

pub(crate) fn admission(sender: &Sender, answer: Result<Answer, Failure>) -> Result<Admission, PluginError> {
    wire::admission(&yes(sender.host(), answer)?).map_err(|error| by(sender, error))
}

pub(crate) fn verdict(sender: &Sender, answer: Result<Answer, Failure>) -> Result<Verdict, PluginError> {
    wire::verdict(&yes(sender.host(), answer)?).map_err(|error| by(sender, error))
}

/// The body of an answer that is a success, as a whole.
fn yes(host: &str, answer: Result<Answer, Failure>) -> Result<Vec<u8>, PluginError> {
    let answer = answer.map_err(|failure| failure.into_error(host))?;
    if !answer.status.is_success() {
        let context = refusal(host, &answer);
        return Err(match answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            true => PluginError::retryable(ErrorKind::Unavailable, context),
            false => PluginError::permanent(ErrorKind::Unavailable, context),
        });
    }
    match answer.end {
        End::Whole => Ok(answer.body),
        End::TooLong => {
            let context = format!("ask {host}: the answer is longer than {MAX_ANSWER} bytes");
            Err(PluginError::permanent(ErrorKind::Limit, context))
        }
        End::BrokenOff(failure) => Err(failure.into_error(host)),
    }
}

/// What is wrong with an answer repeats some of it.
fn by(sender: &Sender, error: PluginError) -> PluginError {
    let (host, what) = (sender.host(), sender.without_secrets(&error.context));
    PluginError { context: format!("ask {host}: {what}"), ..error }
}

/// A publication stays owed until its receiver says that it has it, or wants none any more. Whatever else is wrong may be mended
/// until the next try, on either side.
pub(crate) fn follow_up(host: &str, answer: Result<Answer, Failure>) -> FollowUp {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return FollowUp::retry(format!("{host}: {failure}")),
    };
    match answer.status {
        status if status.is_success() => asked_for(host, &answer),
        StatusCode::GONE => FollowUp::Disable { reason: refusal(host, &answer) },
        _ => FollowUp::Retry { reason: refusal(host, &answer), after: answer.retry_after },
    }
}

/// Receivers that know nothing of our answers write what they like into theirs: the status counts, unless the body plainly asks for more.
fn asked_for(host: &str, answer: &Answer) -> FollowUp {
    if !matches!(answer.end, End::Whole) {
        return FollowUp::Done;
    }
    match wire::follow_up(&answer.body) {
        Ok(FollowUp::Retry { reason, after }) => {
            FollowUp::Retry { reason, after: after.map(|after| after.min(LONGEST_WAIT)) }
        }
        Ok(follow_up) => follow_up,
        Err(_) => {
            if looks_like_more(&answer.body) {
                tracing::warn!(
                    target: "tidegate::webhook",
                    host,
                    "an answer has `retry` or `give_up`, but not as it is documented: taken as done"
                );
            }
            FollowUp::Done
        }
    }
}

fn looks_like_more(body: &[u8]) -> bool {
    let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    ["retry", "give_up"].iter().any(|name| members.get(*name).is_some_and(Value::is_object))
}

/// What a status that is no success says.
fn refusal(host: &str, answer: &Answer) -> String {
    let mut text = format!("{host} answered {}", answer.status.as_u16());
    if let Some(reason) = answer.status.canonical_reason() {
        let _ = write!(text, " {reason}");
    }
    if answer.status.is_redirection() {
        let to =
            answer.redirected_to.as_deref().map_or_else(String::new, |host| format!(" (this one leads to {host})"));
        let _ = write!(text, "; redirects are not followed{to}: `url` must be the receiver itself");
        // Its body has the whole of `Location` as a rule, and there may be a token in it.
        return text;
    }
    if !answer.excerpt.is_empty() {
        let _ = write!(text, ": {}", answer.excerpt);
    }
    text
}
