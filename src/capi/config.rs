//! Configurations: made, read from a file, and set by the keys of the file.

use std::ffi::c_char;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::code::leasehold_code::LEASEHOLD_E_CONFIG;
use super::code::{Failure, Result, call, leasehold_code};
use super::handle::{self, Handle};
use super::text::{json_in, not_null, store, text_in};
use crate::config::{Config, ConfigError, check_alone};

/// A configuration that is being made. Freed with `leasehold_config_free`.
#[derive(Debug)]
pub struct leasehold_config(());

impl Handle for leasehold_config {
    const KIND: usize = 1;
    const NAME: &'static str = "configuration";
    type Object = ConfigObject;
}

/// The object behind a `leasehold_config`.
pub(super) struct ConfigObject(Mutex<Value>);

impl ConfigObject {
    pub(super) fn build(&self) -> Result<Config> {
        Ok(Config::from_json(&self.0.lock().to_string())?)
    }

    /// Sets a field, unless it is none or of another kind. What has to do with other fields is
    /// judged when the node is started, as they may yet be set.
    fn set(&self, key: &str, value: Value) -> Result<()> {
        check_numbers(key, &value)?;
        let mut tree = self.0.lock();
        let mut changed = tree.clone();
        put(&mut changed, key, value.clone(), SECTIONS).ok_or_else(no_field)?;
        check_field(&changed, key)?;
        // Alone too, as the first fault of all that is there is the only one that is told.
        let mut alone = plain("cluster", "node", "localhost");
        put(&mut alone, key, value, SECTIONS).ok_or_else(no_field)?;
        check_field(&alone, key)?;
        *tree = changed;
        Ok(())
    }
}

/// The tree of a configuration with all defaults.
fn plain(cluster_id: &str, node_id: &str, servers: &str) -> Value {
    json!({ "clusterId": cluster_id, "nodeId": node_id, "nats": { "servers": [servers] } })
}

/// Whether each number can be its field's at all, also within a section.
fn check_numbers(key: &str, value: &Value) -> Result<()> {
    // No number's key is as long as that, however deep a value is.
    const LONGEST: usize = 64;
    if key.len() > LONGEST {
        return Ok(());
    }
    if let Some(number) = value.as_u64() {
        check_alone(key, number)?;
    }
    let mut fields = value.as_object().into_iter().flatten();
    fields.try_for_each(|(name, value)| check_numbers(&format!("{key}.{name}"), value))
}

fn check_field(tree: &Value, key: &str) -> Result<()> {
    match Config::check_json(&tree.to_string()) {
        Err(error) if is_about(&error, key) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Sections that may be around a field, with room to spare.
const SECTIONS: usize = 4;

fn no_field() -> Failure {
    Failure::new(LEASEHOLD_E_CONFIG, "the key leads nowhere")
}

/// Whether the value of a key is at fault, whatever other fields say. No other key can be unknown,
/// nor the text unreadable, before it was set.
fn is_about(error: &ConfigError, key: &str) -> bool {
    use ConfigError::{Conflict, Missing, Timing, UnknownKey};
    match (error, error.path()) {
        (Missing { .. } | Conflict { .. } | Timing { .. }, _) => false,
        (UnknownKey { .. }, _) | (_, None) => true,
        (_, Some(path)) => {
            let below = path.strip_prefix(key);
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        }
    }
}

/// None when the key leads through something that is no object, or too deep.
fn put(tree: &mut Value, key: &str, value: Value, sections: usize) -> Option<()> {
    let (section, rest) = key.split_once('.').map_or((key, None), |(one, rest)| (one, Some(rest)));
    let object = tree.as_object_mut()?;
    let Some(rest) = rest else {
        object.insert(section.to_owned(), value);
        return Some(());
    };
    let below = object.entry(section).or_insert_with(|| Map::new().into());
    put(below, rest, value, sections.checked_sub(1)?)
}

fn publish(tree: Value, place: *mut *mut leasehold_config) -> Result<()> {
    let handle = handle::insert(ConfigObject(Mutex::new(tree)))?;
    // SAFETY: the caller's word, see the functions below.
    unsafe { store(place, handle, "config") }
}

fn publish_checked(config: &Config, place: *mut *mut leasehold_config) -> Result<()> {
    let tree = serde_json::from_str(&config.to_json());
    publish(tree.expect("invariant: what is written as JSON is read as JSON"), place)
}

/// A configuration with all defaults: who the node is, and the servers' addresses, separated by
/// commas. Checked at once. `*config` is the caller's, to be freed with `leasehold_config_free`.
/// Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_new(
    cluster_id: *const c_char,
    node_id: *const c_char,
    servers: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: the caller's word.
        let [cluster_id, node_id, servers] = unsafe {
            [
                text_in(cluster_id, "cluster_id")?,
                text_in(node_id, "node_id")?,
                text_in(servers, "servers")?,
            ]
        };
        let tree = plain(cluster_id, node_id, servers);
        Config::from_json(&tree.to_string())?;
        publish(tree, config)
    })
}

/// Reads a configuration from a file, and checks it; the README has the file's keys. `*config` is
/// the caller's, to be freed with `leasehold_config_free`. Blocks while the file is read, and that
/// of an nkey.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_load(
    file: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: the caller's word.
        let file = unsafe { text_in(file, "file") }?;
        publish_checked(&Config::load(file)?, config)
    })
}

/// As `leasehold_config_load`, from the text of a file. Does not block, except to read the file of
/// an nkey.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_parse(
    text: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: the caller's word.
        let text = unsafe { text_in(text, "text") }?;
        publish_checked(&Config::from_json(text)?, config)
    })
}

/// Sets a text by its key in the file, `"nats.credentials"` for example. An unknown key, and a
/// value that the key cannot have whatever the others are, is refused at once; how timers fit
/// together, and what is in files that are named here, is checked when a node is started, or by
/// `leasehold_config_check`. A list, as `"nats.servers"` is, takes `leasehold_config_set_json`.
/// Does not block, and reads no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_text(
    config: *mut leasehold_config,
    key: *const c_char,
    value: *const c_char,
) -> leasehold_code {
    // SAFETY: the caller's word.
    call(|| unsafe { set(config, key, |_| Ok(text_in(value, "value")?.into())) })
}

/// Sets a number, `"election.leaseTtlMs"` for example. As `leasehold_config_set_text`; the message
/// names the field and its range. Of a timer that is what it can be at all: how much of that is
/// left by the other timers is said when a node is started, or by `leasehold_config_check`. 0 is
/// the default of `"election.leaseTtlMs"`, `"election.renewIntervalMs"` and `"vip.netmask"`, as in
/// the file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_number(
    config: *mut leasehold_config,
    key: *const c_char,
    value: i64,
) -> leasehold_code {
    // SAFETY: the caller's word.
    call(|| unsafe { set(config, key, |_| Ok(value.into())) })
}

/// Sets a flag, `"nats.startDisconnected"` for example. As `leasehold_config_set_text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_flag(
    config: *mut leasehold_config,
    key: *const c_char,
    value: bool,
) -> leasehold_code {
    // SAFETY: the caller's word.
    call(|| unsafe { set(config, key, |_| Ok(value.into())) })
}

/// Sets anything, as JSON: `"election.meta"`, `"nats.servers"`, which is a list of texts, or a
/// whole section, which replaces the one before. `null` is the default. As
/// `leasehold_config_set_text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_json(
    config: *mut leasehold_config,
    key: *const c_char,
    value: *const c_char,
) -> leasehold_code {
    // SAFETY: the caller's word.
    call(|| unsafe { set(config, key, |key| json_in(value, key)) })
}

/// # Safety
/// `key` is a text or null.
unsafe fn set(
    config: *mut leasehold_config,
    key: *const c_char,
    value: impl FnOnce(&str) -> Result<Value>,
) -> Result<()> {
    let object = handle::get(config)?;
    // SAFETY: the caller's word.
    let key = unsafe { text_in(key, "key") }?;
    object.set(key, value(key)?)
}

/// Checks all of a configuration, as starting a node does. Does not block, except to read the file
/// of an nkey.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_config_check(config: *const leasehold_config) -> leasehold_code {
    call(|| handle::get(config)?.build().map(drop))
}

/// Frees a configuration; nodes that were started with it are not concerned. Null is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_config_free(config: *mut leasehold_config) -> leasehold_code {
    call(|| handle::free(config))
}
