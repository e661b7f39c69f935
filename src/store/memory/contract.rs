//! The server in memory as the contract's suite sees it.

use super::{MemoryLink, MemoryServer};
use crate::clock::Clock;
use crate::store::contract::{TestServer, Unsupported};
use crate::store::{Entry, Store};

impl MemoryServer {
    fn links(&self) -> impl Iterator<Item = MemoryLink> + '_ {
        let nodes = self.lock().nodes.len();
        (0..nodes).map(|index| MemoryLink { server: self.clone(), index })
    }
}

impl TestServer for MemoryServer {
    fn connect(&mut self) -> Box<dyn Store> {
        Box::new(Self::connect(self, Clock::boot()))
    }

    fn cut(&mut self) -> Result<(), Unsupported> {
        self.links().for_each(|link| link.cut());
        Ok(())
    }

    fn freeze(&mut self) -> Result<(), Unsupported> {
        self.links().for_each(|link| link.freeze());
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Unsupported> {
        self.links().for_each(|link| {
            link.thaw();
            link.heal();
        });
        Ok(())
    }

    fn overwrite(&mut self, bytes: &[u8]) -> Result<(), Unsupported> {
        Self::overwrite(self, bytes);
        Ok(())
    }

    fn delete_key(&mut self) -> Result<(), Unsupported> {
        Self::delete_key(self);
        Ok(())
    }

    fn purge(&mut self) -> Result<(), Unsupported> {
        Self::purge(self);
        Ok(())
    }

    fn delete_bucket(&mut self) -> Result<(), Unsupported> {
        Self::delete_bucket(self);
        Ok(())
    }

    fn forge_notice(&mut self, notice: &Entry) -> Result<(), Unsupported> {
        Self::forge_notice(self, notice);
        Ok(())
    }
}
