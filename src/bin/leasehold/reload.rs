//! SIGHUP: reads the configuration file again and applies changes that a running node can take.

use std::path::Path;

use leasehold::Manager;
use leasehold::config::Config;
use serde_json::Value;

/// The only key that a running node takes: the election's safety does not depend on it.
const CHANGEABLE: &str = "election.meta";

/// Applies the change of [`CHANGEABLE`], and logs which other changes need a restart.
pub(super) fn reload(manager: &Manager, file: &Path) {
    let new = match Config::load(file) {
        Ok(new) => new,
        Err(error) => return log::error!("the configuration is unchanged: {error}"),
    };
    let Some(node) = manager.node() else { return };
    if let Err(error) = node.set_meta(new.meta().cloned()) {
        return log::error!("the configuration is unchanged: {error}");
    }
    let changed = changes(node.config(), &new);
    if changed.is_empty() {
        log::info!("the configuration was reloaded; {CHANGEABLE} applies from the next renewal");
    } else {
        let changed = changed.join(", ");
        log::warn!("the configuration was reloaded; these changes need a restart: {changed}");
    }
}

/// The keys whose changes need a restart, without their values: some are secret.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let tree = |config: &Config| serde_json::from_str(&config.to_json()).unwrap_or_default();
    let mut changed = Vec::new();
    compare("", &tree(old), &tree(new), &mut changed);
    changed.retain(|key| key != CHANGEABLE);
    changed
}

fn compare(path: &str, old: &Value, new: &Value, changed: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            changed.push(path.to_owned());
        }
        return;
    };
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(removed) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = |object: &serde_json::Map<String, Value>| object.get(key).cloned();
        let (old, new) = (value(before), value(after));
        if path == CHANGEABLE {
            continue;
        }
        compare(&path, &old.unwrap_or_default(), &new.unwrap_or_default(), changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_need_a_restart_are_named_without_values() {
        let config = |text: &str| Config::from_json(text).unwrap();
        let old = config(
            r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["h"],"token":"s3cr3t"},
                "election":{"meta":{"a":1}}}"#,
        );
        let new = config(
            r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["h"],"token":"other"},
                "election":{"meta":2,"leaseTtlMs":20000}}"#,
        );
        assert_eq!(changes(&old, &new), ["election.leaseTtlMs", "nats.token"].map(String::from));
        assert_eq!(changes(&old, &old), [""; 0]);
    }
}
