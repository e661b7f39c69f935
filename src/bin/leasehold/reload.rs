//! SIGHUP: reads the configuration file again and applies changes that a running node can take.

use std::path::Path;

use leasehold::Manager;
use leasehold::config::Config;

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
    let changed = needing_restart(node.config(), &new);
    if changed.is_empty() {
        log::info!("the configuration was reloaded; {CHANGEABLE} applies from the next renewal");
    } else {
        let changed = changed.join(", ");
        log::warn!("the configuration was reloaded; these changes need a restart: {changed}");
    }
}

/// The keys whose changes need a restart.
fn needing_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    old.changed_keys(new).into_iter().filter(|key| *key != CHANGEABLE).collect()
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
        assert_eq!(needing_restart(&old, &new), ["nats.token", "election.leaseTtlMs"]);
        assert_eq!(needing_restart(&old, &old), [""; 0]);
    }
}
