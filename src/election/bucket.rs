//! What this node knows about the bucket that holds the record.

use std::time::Duration;

use super::Timestamp;
use crate::store::{Incarnation, Snapshot};

#[derive(Clone, Debug, Default)]
pub(super) enum Bucket {
    /// No read was answered yet, or the connection was lost while the bucket was missing.
    #[default]
    Unknown,
    /// The newest read found no bucket, at that time.
    Missing(Timestamp),
    Known {
        incarnation: Incarnation,
        /// When it was last found missing. Only while it is new: empty ever since, so that no node
        /// can hold a lease in it.
        missing_at: Option<Timestamp>,
        /// Since when reads have shown lower revisions than are known.
        behind_since: Option<Timestamp>,
    },
}

impl Bucket {
    pub(super) fn incarnation(&self) -> Option<&Incarnation> {
        match self {
            Self::Known { incarnation, .. } => Some(incarnation),
            Self::Unknown | Self::Missing(_) => None,
        }
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// Whether it was missing a moment ago and is empty: no node can hold a lease in it.
    pub(super) fn is_new(&self) -> bool {
        matches!(self, Self::Known { missing_at: Some(_), .. })
    }

    pub(super) fn behind_since(&self) -> Option<Timestamp> {
        match self {
            Self::Known { behind_since, .. } => *behind_since,
            Self::Unknown | Self::Missing(_) => None,
        }
    }

    pub(super) fn set_behind_since(&mut self, since: Option<Timestamp>) {
        if let Self::Known { behind_since, .. } = self {
            *behind_since = since;
        }
    }

    /// A read shows the bucket. It counts as new if it was missing less than `longest` ago and
    /// nothing was ever written into it.
    pub(super) fn read(&mut self, now: Timestamp, shown: &Snapshot, longest: Duration) {
        let (missing_at, behind_since) = match self {
            Self::Unknown => (None, None),
            Self::Missing(at) => (Some(*at), None),
            Self::Known { missing_at, behind_since, .. } => (*missing_at, *behind_since),
        };
        let empty = shown.pristine && shown.entry.is_none();
        let missing_at = missing_at.filter(|at| empty && now.since(*at) < longest);
        let incarnation = shown.incarnation.clone();
        *self = Self::Known { incarnation, missing_at, behind_since };
    }

    /// A write of this node was stored in it.
    pub(super) fn written(&mut self) {
        if let Self::Known { missing_at, behind_since, .. } = self {
            (*missing_at, *behind_since) = (None, None);
        }
    }

    /// While there is no connection, a bucket can be created, filled and emptied.
    pub(super) fn disconnected(&mut self) {
        match self {
            Self::Unknown => {}
            Self::Missing(_) => *self = Self::Unknown,
            Self::Known { missing_at, .. } => *missing_at = None,
        }
    }
}
