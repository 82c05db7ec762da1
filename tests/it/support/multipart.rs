//! Multipart bodies written by hand, for the order of their fields is what the tests are about.

/// A body that is being written. Parts stand in the order in which they are added.
#[derive(Clone, Default)]
pub struct Form(Vec<u8>);

const BOUNDARY: &str = "----tidegate-tests-7MA4YWxkTrZu0gW";

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=----tidegate-tests-7MA4YWxkTrZu0gW";

    #[must_use]
    pub fn text(self, name: &str, value: impl ToString) -> Self {
        self.part(&format!("name=\"{name}\""), "", value.to_string().as_bytes())
    }

    /// As browsers send a `Blob`.
    #[must_use]
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.part(&format!("name=\"{name}\"; filename=\"blob\""), "Content-Type: application/octet-stream\r\n", bytes)
    }

    #[must_use]
    pub fn part(mut self, disposition: &str, more_headers: &str, content: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{more_headers}\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub fn body(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }
}
