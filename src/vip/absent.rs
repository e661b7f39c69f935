//! Virtual IPs are not in this build: they need Linux and the feature `vip`.

#[path = "state.rs"]
mod state;

use std::fmt;
use std::sync::Arc;

use log::Level;

pub(crate) use state::SharedStates;
pub use state::VipState;

use crate::clock::Timestamp;
use crate::config::Config;

/// This build has no virtual IPs.
///
/// ```
/// use leasehold::config::{Config, VipConfig};
/// use leasehold::vip;
///
/// let vip = VipConfig::new("10.0.0.10".parse()?, "eth0")?;
/// let config = Config::builder("orders", "node-1", ["nats://a.example"]).vips([vip]).build()?;
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

/// An event of a virtual IP. This build has none, so there is no value of this type.
///
/// ```
/// use leasehold::Event;
///
/// let is_of_a_virtual_ip = |event: &Event| matches!(event, Event::VirtualIp(_));
/// # let _ = is_of_a_virtual_ip;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipEvent {}

impl VipEvent {
    pub(crate) fn level(&self) -> Level {
        match *self {}
    }
}

impl fmt::Display for VipEvent {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// A worker for the virtual IPs of a configuration; `None` when it has none.
///
/// # Errors
/// [`VipError`] when it has some.
pub fn from_config(config: &Config) -> Result<Option<Worker>, VipError> {
    if config.vips().is_empty() { Ok(None) } else { Err(VipError) }
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

    pub(crate) fn states(&self) -> Arc<SharedStates> {
        match *self {}
    }

    pub(crate) fn forward(&self, _: impl Fn(VipEvent) -> bool + Send + 'static) {
        match *self {}
    }

    pub(crate) fn is_permanent(&self) -> bool {
        match *self {}
    }
}
