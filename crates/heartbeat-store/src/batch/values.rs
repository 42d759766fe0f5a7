//! What a plan comes to as rows of values.

use std::mem::take;

use chrono::NaiveDateTime;
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

    /// The rows of `lab_host_heartbeat`, each made when it is asked for: the documents are copied here.
    pub(crate) fn heartbeat_values(&self) -> impl ExactSizeIterator<Item = Vec<Value>> {
        self.heartbeats.iter().map(|row| {
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
                row.document.as_ref().into(),
                row.created_at.into(),
            ]
        })
    }

    /// The rows of `lab_hosts` for `last_seen`.
    pub(crate) fn seen_values(&self) -> Vec<Vec<Value>> {
        let seen = self.hosts.iter().filter_map(|host| {
            let (last_seen, at) = host.seen?;
            Some(vec![
                host.id.into(),
                self.text(host.record.name.as_str()).into(),
                self.text(&host.record.address).into(),
                host.record.mac.as_deref().map(|mac| self.text(mac)).into(),
                last_seen.into(),
                at.into(),
            ])
        });
        seen.collect()
    }

    /// The sums of hours and their rows, and the rows of `ops_host_changes`; takes them out of the plan.
    pub(crate) fn hours_and_changes(&mut self) -> (Vec<&'static str>, Vec<Vec<Value>>, Vec<Vec<Value>>) {
        let (changes, hours) = (take(&mut self.changes), take(&mut self.hours));
        let name = |host: usize| self.hosts[host].record.name.key();
        let changes = changes
            .into_iter()
            .map(|(host, at, change)| change.values(name(host), at));
        let changes = changes.collect();
        let (sums, hours) = hours.rows(name);
        (sums, hours, changes)
    }

    /// The rows of the cursors that moved.
    pub(crate) fn cursor_values(&self, now: NaiveDateTime) -> Vec<Vec<Value>> {
        let moved = self.hosts.iter().filter(|host| host.is_cursor_new);
        let values = moved.filter_map(|host| Some(host.cursor?.values(host.record.name.key(), now)));
        values.collect()
    }
}
