//! The values of settings, by the rows of the option table.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::connection::Secret;
use super::error::ConfigError;
use super::options::{EXCLUSIVE, NEEDED, REQUIRED, ROWS, Row, SERVERS};
use super::vip;

/// A value of the kind of its row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    /// As it stands in the file.
    Plain(Value),
    Secret(Secret),
    Secrets(Vec<Secret>),
}

/// The settings that differ from their default, and those that the file always has. Not checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, Setting>,
    /// The second and further entries of the section [`LIST`], when that is a list.
    more: Vec<Settings>,
}

/// The section that may be a list of sections.
pub(super) const LIST: &str = vip::SECTION;

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self { values: BTreeMap::new(), more: Vec::new() };
        for row in ROWS {
            settings.set(row, None);
        }
        settings
    }
}

impl Settings {
    /// `None` stands for the default.
    pub(super) fn set(&mut self, row: &Row, value: Option<Setting>) {
        let default = row.default().map(Setting::Plain);
        match value.or_else(|| default.clone()) {
            Some(value) if row.is_of_go_cluster() || Some(&value) != default.as_ref() => {
                self.values.insert(row.path, value);
            }
            _ => _ = self.values.remove(row.path),
        }
    }

    pub(super) fn get(&self, row: &Row) -> Option<&Setting> {
        self.values.get(row.path)
    }

    /// Takes over all settings at a path, also those that are not set there.
    pub(super) fn replace(&mut self, path: &str, mut from: Self) {
        for row in ROWS.iter().filter(|row| row.is_at(path)) {
            self.set(row, from.values.remove(row.path));
        }
        if path == LIST {
            self.more = from.more;
        }
    }

    /// Adds an entry to the section that is a list.
    pub(super) fn add(&mut self, entry: Self) {
        self.more.push(entry);
    }

    /// The further entries of the section that is a list.
    pub(super) fn more(&self) -> &[Self] {
        &self.more
    }

    /// The settings of each entry of the section that is a list, with the entry's index if it is
    /// one.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Option<usize>, &Self)> {
        let is_list = !self.more.is_empty();
        let entries = std::iter::once(self).chain(&self.more).enumerate();
        entries.map(move |(index, entry)| (is_list.then_some(index), entry))
    }

    /// Whether a setting is written that is at a path or inside it.
    pub(super) fn has(&self, path: &str) -> bool {
        ROWS.iter().any(|row| row.is_at(path) && self.get(row).is_some())
    }

    /// Checks which settings are set, whatever their values are. `optional` need not be set.
    pub(super) fn check_combination(&self, optional: Option<&Row>) -> Result<(), ConfigError> {
        let is_set = |row: &Row| self.get(row).is_some();
        for rows in &EXCLUSIVE {
            let mut set = rows.iter().filter(|row| is_set(row));
            if let (Some(one), Some(other)) = (set.next(), set.next()) {
                let problem = format!("and {} exclude each other", other.path);
                return Err(ConfigError::invalid(one.path, problem));
            }
        }
        let is_optional = |row: &Row| optional.is_some_and(|optional| optional.path == row.path);
        if let Some(row) = REQUIRED.iter().find(|row| !is_set(row) && !is_optional(row)) {
            return Err(ConfigError::missing(row.path));
        }
        self.of_each_entry(Self::check_needed)
    }

    fn check_needed(&self) -> Result<(), ConfigError> {
        let is_set = |row: &Row| self.get(row).is_some();
        match NEEDED.iter().find(|(row, needed)| is_set(row) && !is_set(needed)) {
            None => Ok(()),
            Some((row, needed)) => {
                let problem = format!("is required when {} is set", row.path);
                Err(ConfigError::invalid(needed.path, problem))
            }
        }
    }

    /// Checks each value on its own.
    pub(super) fn check_values(&self) -> Result<(), ConfigError> {
        self.of_each_entry(|settings| {
            ROWS.iter()
                .try_for_each(|row| settings.get(row).map_or(Ok(()), |value| row.check(value)))
        })
    }

    /// Checks these settings, and the further entries of the section that is a list. An error names
    /// the entry.
    fn of_each_entry(
        &self,
        check: impl Fn(&Self) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        self.entries().try_for_each(|(index, entry)| in_entry(index, check(entry)))
    }

    pub(super) fn holds_secret(&self) -> bool {
        self.values.values().any(|value| match value {
            Setting::Plain(_) => false,
            Setting::Secret(_) => true,
            // An address with a user, password or token.
            Setting::Secrets(list) => list.iter().any(|entry| entry.expose().contains('@')),
        })
    }

    /// A value that is no secret.
    pub(super) fn plain(&self, row: &Row) -> Option<&Value> {
        let Setting::Plain(value) = self.get(row)? else { return None };
        Some(value)
    }

    pub(super) fn text(&self, row: &Row) -> Option<&str> {
        self.plain(row)?.as_str()
    }

    pub(super) fn required_text(&self, row: &Row) -> &str {
        self.text(row).unwrap_or_default()
    }

    pub(super) fn secret(&self, row: &Row) -> Option<&Secret> {
        let Setting::Secret(secret) = self.get(row)? else { return None };
        Some(secret)
    }

    /// The servers' addresses; `None` when the setting is not set.
    pub(super) fn servers(&self) -> Option<&[Secret]> {
        let Setting::Secrets(list) = self.get(&SERVERS)? else { return None };
        Some(list)
    }

    pub(super) fn flag(&self, row: &Row) -> bool {
        self.plain(row).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The number or its default; 0 where there is no default.
    pub(super) fn number(&self, row: &Row) -> u64 {
        let value = self.plain(row).cloned().or_else(|| row.default());
        value.and_then(|value| value.as_u64()).unwrap_or_default()
    }

    pub(super) fn duration(&self, row: &Row) -> Duration {
        Duration::from_millis(self.number(row))
    }

    /// A duration whose default follows from other settings.
    pub(super) fn optional_duration(&self, row: &Row) -> Option<Duration> {
        self.get(row).map(|_| self.duration(row))
    }
}

/// Lets an error name the entry of the list in which it is.
pub(super) fn in_entry<T>(
    index: Option<usize>,
    result: Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    result.map_err(|error| match index {
        Some(index) => error.in_list(LIST, index),
        None => error,
    })
}
