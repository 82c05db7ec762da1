//! Signatures as Standard Webhooks 1.0.0 has them. What is signed is [`crate::event`]'s; it is sent by [`crate::sender`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::event::Message;

pub(crate) const PREFIX: &str = "whsec_";
const EXPECTED: &str =
    "`whsec_` and then the base64 of 24 to 64 random bytes is expected, which `openssl rand -base64 32` makes";

/// A key that questions are signed with. It is never shown.
#[derive(Clone)]
pub(crate) struct Secret(Hmac<Sha256>);

impl Secret {
    /// What is wrong is said without repeating any of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let encoded = text.strip_prefix(PREFIX).ok_or_else(|| format!("does not begin with `{PREFIX}`; {EXPECTED}"))?;
        let key = STANDARD.decode(encoded).map_err(|_| format!("is no base64; {EXPECTED}"))?;
        if !(24..=64).contains(&key.len()) {
            return Err(format!("has {} bytes; {EXPECTED}", key.len()));
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|error| format!("cannot be used ({error}); {EXPECTED}"))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut code = self.0.clone();
        code.update(format!("{id}.{timestamp}.").as_bytes());
        code.update(body);
        format!("v1,{}", STANDARD.encode(code.finalize().into_bytes()))
    }
}

/// A question as it goes out in one try.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) message: Message,
    /// Of this try.
    pub(crate) timestamp: i64,
    /// `None` without any secret.
    pub(crate) signature: Option<String>,
}

impl Signed {
    /// Takes time in proportion to the message.
    pub(crate) fn now(secrets: &[Secret], message: Message) -> Self {
        let timestamp = Timestamp::now().as_second();
        let signature = signatures(secrets, &message.id, timestamp, &message.body);
        Self { message, timestamp, signature }
    }
}

/// One for each secret, so that a receiver that knows one of them is content.
fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_of(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
    }

    /// The example of the standard's libraries.
    #[test]
    fn signs_as_others_do() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn has_a_signature_for_each_secret() {
        let secrets = [secret_of(24), secret_of(64)].map(|text| Secret::parse(&text).unwrap());
        let signed = signatures(&secrets, "1", 2, b"{}").unwrap();
        assert_eq!(signed.split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
        assert_eq!(signatures(&[], "1", 2, b"{}"), None);
    }

    #[test]
    fn a_secret_that_is_none_is_not_repeated() {
        let without_prefix = STANDARD.encode([7; 32]);
        for (text, said) in [
            (without_prefix.as_str(), "does not begin with `whsec_`"),
            ("", "does not begin with"),
            ("whsec_", "has 0 bytes"),
            ("whsec_hunter2!", "is no base64"),
            (&secret_of(23), "has 23 bytes"),
            (&secret_of(65), "has 65 bytes"),
            ("whsec_aHVudGVyMg==", "has 7 bytes"),
        ] {
            let Err(message) = Secret::parse(text) else { panic!("{text} passed") };
            assert!(message.contains(said) && message.contains("24 to 64 random bytes"), "{message}");
            assert!(text.len() < 7 || !message.contains(&text[6..]), "{message}");
        }
    }
}
