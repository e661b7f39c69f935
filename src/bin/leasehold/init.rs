//! `init`: writes a configuration file from arguments.

use leasehold::Manager;
use leasehold::config::{Config, VipConfig};
use serde_json::json;

use super::args::{Args, Init};
use super::failure::Failure;
use super::output;

pub(super) fn init(args: &Args, wanted: &Init) -> Result<(), Failure> {
    let file = &args.config;
    let config = build(wanted)?;
    // `exists` would follow a link, and miss one whose target is missing.
    if file.symlink_metadata().is_ok() && !wanted.force {
        let text = format!("{} already exists; --force replaces it", file.display());
        return Err(Failure::Usage(text));
    }
    Manager::new(config).init(file)?;
    output::done(
        args.json,
        &format!("wrote {0}; next: leasehold -c {0} daemon", file.display()),
        &json!({ "file": file, "clusterId": wanted.cluster_id, "nodeId": wanted.node_id }),
    )
}

fn build(wanted: &Init) -> Result<Config, Failure> {
    let mut builder =
        Config::builder(&wanted.cluster_id, &wanted.node_id, wanted.nats_url.iter().cloned());
    if let Some(file) = &wanted.credentials {
        builder = builder.credentials_file(file);
    }
    if let Some(ttl) = wanted.lease_ttl {
        builder = builder.lease_ttl(ttl);
    }
    if let Some(interval) = wanted.renew_interval {
        builder = builder.renew_interval(interval);
    }
    if let (Some(address), Some(interface)) = (&wanted.vip_address, &wanted.vip_interface) {
        let address = address.parse().map_err(|_| {
            Failure::Usage(format!("vip.address: {address:?} is not a valid IP address"))
        })?;
        let vip = VipConfig::new(address, interface)?;
        builder = builder.vip(match wanted.vip_netmask {
            Some(bits) => vip.with_netmask(bits)?,
            None => vip,
        });
    }
    Ok(builder.build()?)
}
