//! Configurations: made, read from a file, and set by the keys of the file.

use std::ffi::c_char;

use parking_lot::Mutex;
use serde_json::Value;

use super::code::{Result, call, leasehold_code};
use super::handle::{self, Handle};
use super::text::{json_in, not_null, store, text_in};
use crate::config::{Config, ConfigBuilder};

/// A configuration that is being made. Freed with `leasehold_config_free`.
#[derive(Debug)]
pub struct leasehold_config(());

impl Handle for leasehold_config {
    const KIND: usize = 1;
    const NAME: &'static str = "configuration";
    type Object = ConfigObject;
}

/// The object behind a `leasehold_config`.
pub(super) struct ConfigObject(Mutex<ConfigBuilder>);

impl ConfigObject {
    pub(super) fn build(&self) -> Result<Config> {
        // A copy, as building may read a file.
        let builder = self.0.lock().clone();
        Ok(builder.build()?)
    }
}

fn publish(config: &Config, place: *mut *mut leasehold_config) -> Result<()> {
    let handle = handle::insert(ConfigObject(Mutex::new(config.to_builder())))?;
    // SAFETY: by the contract of the functions below.
    unsafe { store(place, handle, "config") }
}

/// Makes a configuration with all defaults from a cluster id, a node id and server addresses, which
/// are separated by commas, and checks it. `*config` is the caller's, to be freed with
/// `leasehold_config_free`. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_new(
    cluster_id: *const c_char,
    node_id: *const c_char,
    servers: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: by the function's contract.
        let [cluster_id, node_id, servers] = unsafe {
            [
                text_in(cluster_id, "cluster_id")?,
                text_in(node_id, "node_id")?,
                text_in(servers, "servers")?,
            ]
        };
        publish(&Config::new(cluster_id, node_id, [servers])?, config)
    })
}

/// Reads a configuration from a file, and checks it. The guide's page `configuration` has the keys.
/// `*config` is the caller's, to be freed with `leasehold_config_free`. Blocks while it reads the
/// file, and the file of an nkey.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_load(
    file: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: by the function's contract.
        let file = unsafe { text_in(file, "file") }?;
        publish(&Config::load(file)?, config)
    })
}

/// As `leasehold_config_load`, from the text of a file. Blocks only while it reads the file of an
/// nkey.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_parse(
    text: *const c_char,
    config: *mut *mut leasehold_config,
) -> leasehold_code {
    call(|| {
        not_null(config, "config")?;
        // SAFETY: by the function's contract.
        let text = unsafe { text_in(text, "text") }?;
        publish(&Config::from_json(text)?, config)
    })
}

/// Sets a text by its key in the file, for example `"nats.credentials"`. An empty text means the
/// default. An unknown key is refused, and the value is checked, whatever the other settings are.
/// `leasehold_config_check` and `leasehold_start` check how settings fit together, and the files
/// that they name. A list, as `"nats.servers"` is, is set by `leasehold_config_set_json`. Does not
/// block and reads no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_text(
    config: *mut leasehold_config,
    key: *const c_char,
    value: *const c_char,
) -> leasehold_code {
    // SAFETY: by the function's contract.
    call(|| unsafe { set(config, key, |_| Ok(text_in(value, "value")?.into())) })
}

/// As `leasehold_config_set_text`, for a number, for example `"election.leaseTtlMs"`. The message
/// names the range. The range of a timer is the widest that it can have: `leasehold_config_check`
/// and `leasehold_start` check what the other timers leave of it. 0 means the default of
/// `"election.leaseTtlMs"`, `"election.renewIntervalMs"` and `"vip.netmask"`, as in the file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_number(
    config: *mut leasehold_config,
    key: *const c_char,
    value: i64,
) -> leasehold_code {
    // SAFETY: by the function's contract.
    call(|| unsafe { set(config, key, |_| Ok(value.into())) })
}

/// As `leasehold_config_set_text`, for a flag, for example `"nats.startDisconnected"`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_flag(
    config: *mut leasehold_config,
    key: *const c_char,
    value: bool,
) -> leasehold_code {
    // SAFETY: by the function's contract.
    call(|| unsafe { set(config, key, |_| Ok(value.into())) })
}

/// As `leasehold_config_set_text`, for any value in JSON: `"election.meta"`, `"nats.servers"`,
/// which is a list of texts, or a whole section. A section replaces the one before: settings that
/// it does not name get their default. So `"nats"` without `servers` is accepted here, and refused
/// by `leasehold_config_check` and `leasehold_start`. `null` means the default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn leasehold_config_set_json(
    config: *mut leasehold_config,
    key: *const c_char,
    value: *const c_char,
) -> leasehold_code {
    // SAFETY: by the function's contract.
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
    // SAFETY: by the function's contract.
    let key = unsafe { text_in(key, "key") }?;
    let value = value(key)?;
    Ok(object.0.lock().set(key, value)?)
}

/// Checks a configuration as `leasehold_start` does. Blocks only while it reads the file of an
/// nkey.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_config_check(config: *const leasehold_config) -> leasehold_code {
    call(|| handle::get(config)?.build().map(drop))
}

/// Frees a configuration. Nodes that were started with it keep running. Null is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_config_free(config: *mut leasehold_config) -> leasehold_code {
    call(|| handle::free(config))
}
