//! The text of a server's `-ERR`.

/// A permission violation.
pub(crate) struct PermissionViolation<'a> {
    pub(crate) subject: &'a str,
    /// Publishing was refused; else subscribing, or expecting a response there.
    pub(crate) publish: bool,
}

impl<'a> PermissionViolation<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if !lower.starts_with("permissions violation") {
            return None;
        }
        let publish = lower.starts_with("permissions violation for publish to");
        let subject = text.split('"').nth(1).unwrap_or_default();
        Some(Self { subject, publish })
    }
}

/// Whether the server refuses the credentials. It says "Authentication Timeout" when it had no time
/// to look at them.
pub(super) fn is_about_credentials(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    !text.contains("timeout")
        && ["authoriz", "authenticat", "credential"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_its_subject() {
        let text = "Permissions Violation for Publish to \"$KV.cluster-a.lease\"";
        let violation = PermissionViolation::parse(text).unwrap();
        assert_eq!((violation.subject, violation.publish), ("$KV.cluster-a.lease", true));
        let text = "Permissions Violation for Subscription to \"cluster.a.kv.lease\" using queue";
        let violation = PermissionViolation::parse(text).unwrap();
        assert_eq!((violation.subject, violation.publish), ("cluster.a.kv.lease", false));
        assert!(PermissionViolation::parse("Stale Connection").is_none());
        assert_eq!(PermissionViolation::parse("permissions violation").unwrap().subject, "");
    }

    #[test]
    fn errors_about_credentials_are_recognised() {
        for text in ["Authorization Violation", "User Authentication Expired"] {
            assert!(is_about_credentials(text), "{text}");
        }
        assert!(!is_about_credentials("maximum connections exceeded"));
        assert!(!is_about_credentials("Authentication Timeout"));
    }
}
