//! Which hosts serve which lab, changeable while engines run.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lab_model::{HostName, LabId};
use reservation_engine::HostMap;

use super::host;

#[derive(Debug, Default)]
pub(crate) struct Rooms {
    labs: Mutex<BTreeMap<String, Vec<u32>>>,
}

impl Rooms {
    /// Lab by lab, the hosts `ws-n` that serve it.
    pub(crate) fn new(labs: &[(u32, &[u32])]) -> Self {
        let rooms = Self::default();
        for (lab, hosts) in labs {
            rooms.set(*lab, hosts);
        }
        rooms
    }

    pub(crate) fn set(&self, lab: u32, hosts: &[u32]) {
        self.labs.lock().unwrap().insert(lab.to_string(), hosts.to_vec());
    }
}

impl HostMap for Rooms {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.hosts_for(lab).into_iter().next()
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        let labs = self.labs.lock().unwrap();
        labs.get(lab.as_str())
            .into_iter()
            .flatten()
            .copied()
            .map(host)
            .collect()
    }

    fn knows(&self, name: &HostName) -> bool {
        let labs = self.labs.lock().unwrap();
        labs.values().flatten().any(|number| host(*number) == *name)
    }
}

/// The rooms as one of several processes sees them that share the hosts.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) rooms: std::sync::Arc<Rooms>,
    /// The hosts `ws-n` that are this process's to see to.
    pub(crate) ours: Vec<u32>,
}

impl HostMap for Share {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.rooms.host_for(lab)
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        self.rooms.hosts_for(lab)
    }

    fn knows(&self, name: &HostName) -> bool {
        self.rooms.knows(name)
    }

    fn is_ours(&self, name: &HostName) -> bool {
        self.ours.iter().any(|number| host(*number) == *name)
    }
}
