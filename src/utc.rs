//! Wall-clock times for people. No decision depends on them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the year 9999, in seconds since 1970: the last that RFC 3339 can name.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A moment in RFC 3339, in UTC. It has six digits of a second always: some clients read nothing
/// else. A moment before 1970 is shown as the beginning of 1970.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let at = at.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST);
    humantime::format_rfc3339_micros(at).to_string()
}

/// The same without fractions of a second.
#[cfg(feature = "_servers")]
pub(crate) fn rfc3339_seconds(at: SystemTime) -> String {
    let at = at.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Milliseconds since the beginning of 1970.
#[must_use]
pub fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_moment_has_a_text() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(253_402_300_800), "9999-12-31T23:59:59.000000Z");
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_nanos(1)), "1970-01-01T00:00:00.000000Z");
    }
}
