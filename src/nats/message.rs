//! Messages of core NATS.

use crate::text::{excerpt, printable};

/// The headers with which the NATS services protocol reports an error.
pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// A message that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where it was published.
    pub(crate) subject: String,
    /// Where the sender expects a response, if it does.
    pub(crate) reply: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Whether the server sent it instead of a response: nothing is subscribed to the request's
    /// subject.
    pub(crate) fn is_no_responders(&self) -> bool {
        self.body.is_empty() && self.headers.only("Status") == Some("503")
    }

    /// Code and description, when it is an error of the services protocol.
    pub(crate) fn service_error(&self) -> Option<(String, String)> {
        let code = self.headers.only(SERVICE_ERROR_CODE)?;
        let description = self.headers.only(SERVICE_ERROR).unwrap_or_default();
        Some((excerpt(code), excerpt(description)))
    }
}

/// Names and values. One name may have several values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds a header. A line end in `value` would end the header, so it becomes a space.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), printable(value)));
    }

    /// The value of a header that is there exactly once.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.iter().filter(|(known, _)| *known == name);
        values.next().filter(|_| values.next().is_none()).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Headers {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(headers: T) -> Self {
        Self(headers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_one_line() {
        let mut headers = Headers::default();
        headers.add("A", "one\r\nB: two");
        assert_eq!(headers.only("A"), Some("one  B: two"));
    }

    #[test]
    fn a_header_that_is_there_twice_has_no_only_value() {
        let mut headers = Headers::default();
        headers.add("A", "1");
        headers.add("A", "2");
        assert_eq!((headers.only("A"), headers.only("B")), (None, None));
    }
}
