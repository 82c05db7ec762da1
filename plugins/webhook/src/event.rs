//! A question as a CloudEvent 1.0 in structured JSON. How it gets to its receiver is [`crate::sender`]'s business.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use serde::{Serialize, Serializer};
use tidegate_plugin_sdk::wire::Question;
use tidegate_plugin_sdk::{Announcement, Bytes, ErrorKind, Metadata, PluginError, Publication};

/// All that RFC 3986 does not call unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SPECVERSION: &str = "1.0";
const JSON: &str = "application/json";

/// More than an event takes without a file's content.
const SMALL_EVENT: usize = 1024;

/// What is sent, ready to be signed.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: String,
    time: &'a str,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    question: Question<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_base64: Option<Content<'a>>,
}

/// Bytes that become base64 where they are written, and nowhere before.
struct Content<'a>(&'a [u8]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

impl Message {
    pub(crate) fn admit(source: &str, file: &Announcement) -> Result<Self, PluginError> {
        Self::of(&Event {
            specversion: SPECVERSION,
            id: &file.id,
            source,
            kind: "tidegate.file.admit",
            subject: subject([&file.collection, &file.tenant, &file.file_name]),
            time: &now(),
            datacontenttype: JSON,
            data: Data { question: Question::admit(file), content_base64: None },
        })
    }

    pub(crate) fn validate(source: &str, file: &Metadata, content: Option<&[u8]>) -> Result<Self, PluginError> {
        Self::of(&Event {
            specversion: SPECVERSION,
            id: &file.id,
            source,
            kind: "tidegate.file.validate",
            subject: subject([&file.collection, &file.tenant, &file.file_name]),
            time: &now(),
            datacontenttype: JSON,
            data: Data { question: Question::validate(file), content_base64: content.map(Content) },
        })
    }

    pub(crate) fn published(source: &str, file: &Metadata, publication: &Publication) -> Result<Self, PluginError> {
        Self::of(&Event {
            specversion: SPECVERSION,
            id: &publication.event_id,
            source,
            kind: "tidegate.file.published",
            subject: subject([&file.collection, &file.tenant, &file.file_name]),
            time: &publication.published,
            datacontenttype: JSON,
            data: Data { question: Question::post_assembly(file, publication), content_base64: None },
        })
    }

    fn of(event: &Event<'_>) -> Result<Self, PluginError> {
        let broken = |context| PluginError::permanent(ErrorKind::Internal, context);
        // It goes into a header, too, and without one nobody can tell a second try from a second file.
        if event.id.is_empty() || HeaderValue::from_str(event.id).is_err() {
            return Err(broken("the question has no id that a header can hold"));
        }
        let content = event.data.content_base64.as_ref().map_or(0, |content| content.0.len());
        let mut body = Vec::with_capacity(SMALL_EVENT + content.div_ceil(3) * 4);
        serde_json::to_writer(&mut body, event)
            .map_err(|error| broken("the question cannot be written as JSON").caused_by(error))?;
        Ok(Self { id: event.id.to_owned(), body: body.into() })
    }
}

/// Where the file is, as a path of names.
fn subject(names: [&str; 3]) -> String {
    let names = names.into_iter().filter(|name| !name.is_empty());
    names.map(|name| utf8_percent_encode(name, ESCAPED).to_string()).collect::<Vec<_>>().join("/")
}

fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_plugin_sdk::FileHandle;
    use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};

    use super::*;

    fn parsed(message: Message) -> Value {
        serde_json::from_slice(&message.body).unwrap()
    }

    #[test]
    fn a_publication_is_a_cloud_event() {
        let file = MemoryFile::new("comptes 2024/é.json", "{}").declared("application/json");
        let message = Message::published("tidegate", file.metadata(), &publication("event-1")).unwrap();
        assert_eq!(message.id, "event-1");
        assert_eq!(
            parsed(message),
            json!({
                "specversion": "1.0",
                "id": "event-1",
                "source": "tidegate",
                "type": "tidegate.file.published",
                "subject": "test/tenant/comptes%202024%2F%C3%A9.json",
                "time": "2026-01-02T03:04:05.678+00:00",
                "datacontenttype": "application/json",
                "data": {
                    "stage": "post_assembly", "id": "question-1", "collection": "test", "tenant": "tenant",
                    "file_name": "comptes 2024/é.json", "size": 2, "content_type": "application/json",
                    "version": "0199c3a2f5d27b3e9a4c1d2e3f405162", "sha256": null,
                    "published": "2026-01-02T03:04:05.678+00:00", "attempt": 1,
                },
            })
        );
    }

    #[test]
    fn a_question_has_the_time_of_now() {
        let event = parsed(Message::admit("urn:a", &announcement("a.json")).unwrap());
        assert_eq!((&event["type"], &event["source"]), (&json!("tidegate.file.admit"), &json!("urn:a")));
        let time: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
        assert!((Timestamp::now().as_second() - time.as_second()).abs() < 60, "{event}");
    }

    #[test]
    fn the_content_is_in_it_where_it_is_asked_for() {
        let file = MemoryFile::new("a.bin", vec![255, 0, 1, 2]);
        let event = parsed(Message::validate("tidegate", file.metadata(), Some(&[255, 0, 1, 2])).unwrap());
        assert_eq!(event["data"]["content_base64"], "/wABAg==");
        let event = parsed(Message::validate("tidegate", file.metadata(), Some(&[])).unwrap());
        assert_eq!(event["data"]["content_base64"], "");
        let event = parsed(Message::validate("tidegate", file.metadata(), None).unwrap());
        assert_eq!(
            (event["type"].as_str(), event["data"].get("content_base64")),
            (Some("tidegate.file.validate"), None)
        );
    }

    #[test]
    fn a_subject_has_no_empty_part() {
        assert_eq!(subject(["societes", "", "a-b_c~d.json"]), "societes/a-b_c~d.json");
        assert_eq!(subject(["a", "b?c#d", "%"]), "a/b%3Fc%23d/%25");
    }

    #[test]
    fn a_question_without_an_id_is_an_error_of_ours() {
        for id in ["", "a\nb"] {
            let file = Metadata::new("a", "", "b", 1).with_id(id);
            assert_eq!(Message::validate("tidegate", &file, None).unwrap_err().kind, ErrorKind::Internal);
        }
    }
}
