//! Virtual IPs are not in this build: they need Linux and the feature `vip`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::clock::Timestamp;
use crate::config::Config;

/// This build has no virtual IPs.
///
/// ```
/// use leasehold::config::{Config, VipConfig};
/// use leasehold::vip;
///
/// let vip = VipConfig::new("10.0.0.10".parse()?, "eth0")?;
/// let config = Config::builder("orders", "node-1", ["nats://a.example"]).vip(vip).build()?;
/// let error = vip::from_config(&config).unwrap_err(); // and a node does not start
/// assert!(error.to_string().ends_with("they need Linux and the feature vip"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("this build has no virtual IPs: they need Linux and the feature vip")]
#[non_exhaustive]
pub struct VipError;

/// A worker of virtual IPs. This build has none, so there is no value of this type.
///
/// ```
/// use leasehold::{Config, vip};
///
/// let config = Config::new("orders", "node-1", ["nats://a.example"])?;
/// assert!(vip::from_config(&config)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Worker {}

/// A worker for the virtual IP of a configuration; `None` when it has no virtual IP.
///
/// # Errors
/// [`VipError`] when it has one.
pub fn from_config(config: &Config) -> Result<Option<Worker>, VipError> {
    if config.vip().is_some() { Err(VipError) } else { Ok(None) }
}

impl Worker {
    pub(crate) fn acquire(&self, _: u64, _: impl Fn() -> Option<Timestamp> + Send + 'static) {
        match *self {}
    }

    pub(crate) fn look(&self) {
        match *self {}
    }

    pub(crate) fn release(&self, _: impl Send + 'static) {
        match *self {}
    }

    pub(crate) fn held(&self) -> Arc<AtomicBool> {
        match *self {}
    }

    pub(crate) fn is_permanent(&self) -> bool {
        match *self {}
    }
}
