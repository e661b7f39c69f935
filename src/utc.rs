//! Wall-clock times for people: RFC 3339 in UTC. No decision depends on them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

/// A moment of the wall clock.
///
/// Its text is RFC 3339 to the second, or with as many digits of a second as a precision says:
/// `{:.3}` for milliseconds. A moment before 1970 is shown as the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(Duration);

impl Utc {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Milliseconds since the beginning of 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Hour, minute and second: `14:30:10`.
    #[must_use]
    pub fn time_of_day(self) -> String {
        let second = self.0.as_secs() % DAY;
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

impl From<SystemTime> for Utc {
    fn from(at: SystemTime) -> Self {
        Self(at.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.as_secs() / DAY);
        write!(f, "{year:04}-{month:02}-{day:02}T{}", self.time_of_day())?;
        if let Some(digits) = f.precision().map(|digits| digits.min(9)) {
            let nanos = format!("{:09}", self.0.subsec_nanos());
            write!(f, ".{}", &nanos[..digits])?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 1 March of the year 0 to 1 January 1970.
    const BEFORE_1970: u64 = 719_468;
    let days = days + BEFORE_1970;
    let (centuries, day) = (days / DAYS_OF_400_YEARS * 400, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (centuries + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> Utc {
        (UNIX_EPOCH + Duration::new(seconds, nanos)).into()
    }

    #[test]
    fn the_precision_is_the_number_of_digits() {
        let moment = at(1_700_000_000, 1_234_567);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(format!("{moment:.3}"), "2023-11-14T22:13:20.001Z");
        assert_eq!(format!("{moment:.6}"), "2023-11-14T22:13:20.001234Z");
        assert_eq!(format!("{moment:.20}"), "2023-11-14T22:13:20.001234567Z");
        assert_eq!(moment.time_of_day(), "22:13:20");
        assert_eq!(moment.unix_millis(), 1_700_000_000_001);
    }

    #[test]
    fn leap_years_and_the_ends_of_years_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(at(seconds, 0).to_string(), text);
        }
    }

    #[test]
    fn each_day_follows_the_day_before() {
        let mut before = date(0);
        for day in 1..200_000 {
            let (year, month, day) = date(day);
            let next_day = (year, month) == (before.0, before.1) && day == before.2 + 1;
            let next_month = year == before.0 && month == before.1 + 1 && day == 1;
            let next_year = (year, month, day) == (before.0 + 1, 1, 1) && before.1 == 12;
            assert!(next_day || (before.2 >= 28 && (next_month || next_year)), "{before:?}");
            before = (year, month, day);
        }
    }

    #[test]
    fn a_moment_before_1970_is_shown_as_1970() {
        let moment = Utc::from(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(moment.to_string(), "1970-01-01T00:00:00Z");
    }
}
