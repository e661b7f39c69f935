//! What can go wrong, by name.

use std::fmt;

use super::site::{Need, Site};
use super::{clock, cluster, link, process, record, server};

/// Ends a fault; what cannot be undone is merely over.
pub type Remedy = Box<dyn FnOnce(&mut Site)>;

/// Which node is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// The one that leads.
    Leader,
    /// One of those that do not, by a number of any size.
    Follower(usize),
}

/// Something that can be done to a [`Site`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node ends without a word (SIGKILL), and starts again.
    Killed(Hit),
    /// A node stands still (SIGSTOP) and goes on (SIGCONT).
    Stopped(Hit),
    /// A node gets next to no time of its processor.
    Starved(Hit),
    /// A link carries nothing, either way, and is not closed.
    LinkFrozen(Hit),
    /// Connections are reset, and new ones refused.
    LinkCut(Hit),
    /// Connections are reset once, and new ones are served.
    LinkReset(Hit),
    /// A node hears the servers, and is not heard.
    LinkMute(Hit),
    /// A node is heard, and hears nothing.
    LinkDeaf(Hit),
    /// A link takes 20 ms each way, and now and then loses something: a stall, to TCP.
    LinkSlow(Hit),
    /// All servers end without a word, and start again.
    ServersKilled,
    /// What a server has stored is deleted while it runs; then it is killed, and starts with
    /// nothing. Of three it is the stream's leader.
    StoreDeleted,
    /// The account has used up what it may store.
    AccountFull,
    /// No byte is left on the servers' disks. They are restarted when there is room again.
    DiskFull,
    /// A server sends its clients away and ends. Of three it is the stream's leader.
    LameDuck,
    /// The server that leads the stream ends without a word.
    StreamLeaderKilled,
    /// The server that leads the stream cannot reach the other two, nor they it.
    StreamLeaderIsolated,
    /// One that follows cannot.
    StreamFollowerIsolated,
    /// One server after the other is restarted in order.
    RollingRestart,
    /// Somebody deletes the key.
    KeyDeleted,
    /// Somebody deletes the bucket.
    BucketDeleted,
    /// Somebody deletes the bucket and makes another of that name.
    BucketReplaced,
    /// Somebody writes garbage into the record.
    RecordCorrupted,
    /// Somebody publishes a hundred lies a second on the subject of notices.
    NoticesForged,
    /// A wall clock goes forward by hours, and back again.
    WallClockMoved(Hit),
    /// The leader's boot-time clock goes on by a minute at once, as in a suspend.
    LeaderSuspended,
}

use Fault::{
    AccountFull, BucketDeleted, BucketReplaced, DiskFull, KeyDeleted, Killed, LameDuck,
    LeaderSuspended, LinkCut, LinkDeaf, LinkFrozen, LinkMute, LinkReset, LinkSlow, NoticesForged,
    RecordCorrupted, RollingRestart, ServersKilled, Starved, Stopped, StoreDeleted,
    StreamFollowerIsolated, StreamLeaderIsolated, StreamLeaderKilled, WallClockMoved,
};

impl Fault {
    /// Every fault that a site of one server, or of `three`, can be done to.
    pub fn all(hit: Hit, three: bool) -> Vec<Self> {
        let mut all = vec![
            Killed(hit),
            Stopped(hit),
            Starved(hit),
            ServersKilled,
            StoreDeleted,
            AccountFull,
            DiskFull,
            LameDuck,
            KeyDeleted,
            BucketDeleted,
            BucketReplaced,
            RecordCorrupted,
            NoticesForged,
            WallClockMoved(hit),
            LeaderSuspended,
        ];
        all.extend(Self::links(hit));
        if three {
            all.extend([StreamLeaderKilled, StreamLeaderIsolated, StreamFollowerIsolated]);
            all.push(RollingRestart);
        }
        all
    }

    /// Those of a node's link.
    pub fn links(hit: Hit) -> [Self; 6] {
        [LinkFrozen(hit), LinkCut(hit), LinkReset(hit), LinkMute(hit), LinkDeaf(hit), LinkSlow(hit)]
    }

    /// Does it, and returns how it is ended.
    #[must_use = "a fault that is not ended stays"]
    pub fn inflict(self, site: &mut Site) -> Remedy {
        match self {
            Killed(hit) => process::kill(site, hit),
            Stopped(hit) => process::stop(site, hit),
            Starved(hit) => process::starve(site, hit),
            LinkFrozen(hit) => link::freeze(site, hit),
            LinkCut(hit) => link::cut(site, hit),
            LinkReset(hit) => link::reset(site, hit),
            LinkMute(hit) => link::mute(site, hit),
            LinkDeaf(hit) => link::deafen(site, hit),
            LinkSlow(hit) => link::slow(site, hit),
            ServersKilled => server::kill_all(site),
            StoreDeleted => server::delete_store(site),
            AccountFull => server::fill_account(site),
            DiskFull => server::fill_disks(site),
            LameDuck => server::send_away(site),
            StreamLeaderKilled => cluster::kill_leader(site),
            StreamLeaderIsolated => cluster::isolate_leader(site),
            StreamFollowerIsolated => cluster::isolate_follower(site),
            RollingRestart => cluster::restart_in_turn(site),
            KeyDeleted => record::delete_key(site),
            BucketDeleted => record::delete_bucket(site),
            BucketReplaced => record::replace_bucket(site),
            RecordCorrupted => record::corrupt(site),
            NoticesForged => record::forge_notices(site),
            WallClockMoved(hit) => clock::move_wall_clock(site, hit),
            LeaderSuspended => clock::suspend_leader(site),
        }
    }

    /// What a site must have for it.
    pub fn needs(self) -> &'static [Need] {
        match self {
            DiskFull => &[Need::SmallDisk],
            AccountFull => &[Need::SmallAccount],
            LeaderSuspended => &[Need::JumpingClocks],
            WallClockMoved(_) => &[Need::WallClocks],
            _ => &[],
        }
    }
}

impl fmt::Display for Fault {
    /// In words of a table: `Stopped (follower)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        let (name, hit) = text.split_once('(').unwrap_or((&text, ""));
        match hit {
            "" => f.pad(name),
            _ if hit.starts_with("Leader") => f.pad(&format!("{name} (leader)")),
            _ => f.pad(&format!("{name} (follower)")),
        }
    }
}
