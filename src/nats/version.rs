//! Server versions.

use std::fmt;

/// A server's version, as far as it is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads `2.11.3`, `v2.11.3`, `2.12.0-beta.1`. A number that is missing or unreadable is 0.
    pub(crate) fn parse(text: &str) -> Self {
        let mut numbers = text.trim_start_matches('v').split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().unwrap_or(0)
        });
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_however_they_are_written() {
        assert_eq!(Version::parse("2.9.10"), Version(2, 9, 10));
        assert_eq!(Version::parse("v2.12.0-beta.1"), Version(2, 12, 0));
        assert_eq!(Version::parse("2.11"), Version(2, 11, 0));
        assert_eq!(Version::parse("nonsense"), Version::default());
        assert!(Version::parse("2.9.10") < Version(2, 11, 0));
        assert!(Version::parse("2.100.0") > Version(2, 11, 0));
    }
}
