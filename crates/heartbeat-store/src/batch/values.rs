//! What a plan comes to as rows of values.

use std::mem::take;

use sea_orm::Value;

use super::Care;
use super::fold::Plan;
use super::state_row::Extent;
use crate::columns::whole_seconds;
use crate::prepared::ascii_text;

impl Plan<'_> {
    /// A text for one of the shared tables.
    pub(crate) fn text(&self, text: &str) -> String {
        match self.care {
            Care::Plain => text.to_owned(),
            _ => ascii_text(text),
        }
    }

    /// The rows of `ops_host_state` that are to be brought up to date, by what changed in them; takes them out of the plan.
    /// `ids` are those of the new rows of `lab_host_heartbeat`.
    pub(crate) fn states(&mut self, ids: &[i64]) -> [(Extent, Vec<Vec<Value>>); 3] {
        let mut states = [Extent::Heard, Extent::Stored, Extent::Whole].map(|extent| (extent, Vec::new()));
        for host in self.hosts.iter_mut().filter(|host| host.is_state_new) {
            let mut state = take(&mut host.state);
            if let Some(id) = host.newest.and_then(|row| ids.get(row)) {
                state.last_heartbeat_id = Some(*id);
            }
            let extent = state.extent(&host.stored);
            if let Some((_, rows)) = states.iter_mut().find(|(of, _)| *of == extent) {
                rows.push(state.values(extent));
            }
        }
        states
    }

    /// The rows of `lab_host_heartbeat`; takes the documents out of the plan.
    pub(crate) fn heartbeat_values(&mut self) -> Vec<Vec<Value>> {
        let documents: Vec<String> = self
            .heartbeats
            .iter_mut()
            .map(|row| take(&mut row.document))
            .collect();
        let rows = self.heartbeats.iter().zip(documents);
        rows.map(|(row, document)| {
            let heard = row.heard;
            vec![
                self.hosts[row.host].id.into(),
                heard.stamp.into(),
                heard.ready.into(),
                heard.local_mode.into(),
                heard.local_session.into(),
                heard.logoff_at.and_then(whole_seconds).into(),
                heard.logoff_user.as_deref().map(|user| self.text(user)).into(),
                heard.power_at.and_then(whole_seconds).into(),
                heard.power_mode.as_deref().map(|mode| self.text(mode)).into(),
                document.into(),
                row.created_at.into(),
            ]
        })
        .collect()
    }
}
