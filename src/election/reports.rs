//! The changes that are reported to the caller. None is reported twice in a row.

use std::time::Duration;

use super::record::Record;
use super::{Change, Election, Timestamp};
use crate::lease::{Epoch, SessionId};

/// The last report of each kind.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) leader: Option<(String, Epoch)>,
    pub(super) meta: Option<serde_json::Value>,
    ttl: Option<Duration>,
    duplicate: Option<SessionId>,
    /// Another session of this node's id, and the revision at which it was first seen.
    namesake: Option<(SessionId, u64)>,
}

impl Election {
    /// Reports what a newly seen record says about the cluster.
    pub(super) fn report_record(&mut self) {
        let Some(observed) = self.view.newest() else { return };
        let revision = observed.revision;
        let Some(lease) = observed.lease().filter(|lease| !lease.is_released()) else { return };
        let foreign = lease.session.filter(|session| *session != self.settings.session);
        let same_name = lease.node_id == self.settings.node_id;
        let ttl = lease.ttl.filter(|ttl| *ttl != self.settings.timing.ttl());
        if let Some(ttl) = ttl.filter(|ttl| self.reported.ttl != Some(*ttl)) {
            self.reported.ttl = Some(ttl);
            self.out.changes.push(Change::TtlMismatch(ttl));
        }
        // An observer may have the id of the node that it runs beside.
        if let (Some(session), true, false) = (foreign, same_name, self.settings.observer) {
            self.report_duplicate(session, revision);
        }
    }

    /// Reports a record that was read and is none.
    pub(super) fn report_corruption(&mut self) {
        let Some(confirmed) = self.view.confirmed() else { return };
        if let Record::Undecodable(reason) = &confirmed.record {
            let (reason, revision) = (reason.clone(), self.revision());
            self.out.changes.push(Change::CorruptRecord { revision, reason });
        }
    }

    /// One record of this node's id may be left from before a restart. A second one of the same
    /// session proves that its process is alive.
    fn report_duplicate(&mut self, session: SessionId, revision: u64) {
        let alive =
            matches!(self.reported.namesake, Some((seen, at)) if seen == session && at < revision);
        if self.reported.namesake.is_none_or(|(seen, _)| seen != session) {
            self.reported.namesake = Some((session, revision));
        }
        if alive && self.reported.duplicate != Some(session) {
            self.reported.duplicate = Some(session);
            self.out.changes.push(Change::DuplicateNodeId(session));
        }
    }

    pub(super) fn report_leader(&mut self, now: Timestamp) {
        let leader = self.leader(now);
        if leader != self.reported.leader {
            self.reported.leader.clone_from(&leader);
            self.out.changes.push(Change::LeaderChanged(leader));
        }
        let meta = self.leader_meta().filter(|_| self.reported.leader.is_some());
        if meta != self.reported.meta.as_ref() {
            let meta = meta.cloned();
            self.reported.meta.clone_from(&meta);
            self.out.changes.push(Change::MetaChanged(meta));
        }
    }
}
