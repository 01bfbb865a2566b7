//! What went wrong and was mended is told.

use sdk_machine::{Reason, Stall};

use super::Driver;
use crate::config::LogLevel;
use crate::incident::{Incident, StalledPart};

impl Driver {
    /// Tells what became of a damaged file.
    pub(super) fn look_at_rescued(&mut self) {
        for rescued in self.replica.take_rescued() {
            let incident = Incident::Rebuilt(rescued);
            self.has_settled = true;
            self.look_at_states();
            self.incident(incident);
        }
    }

    /// Tells what does not move, when the machine gives the connection up for it.
    pub(super) fn look_at_stall(&mut self) {
        let Some(Reason::Stalled(stall)) = self.machine.status().reason else {
            self.told_stall = None;
            return;
        };
        if self.told_stall.as_ref() == Some(&stall) {
            return;
        }
        let of = match &stall {
            Stall::Outbox(lane) => StalledPart::Outbox(lane.to_string()),
            Stall::Subscription(id) => {
                let mut all = self.machine.subscriptions();
                let text = all.find(|it| it.id == *id).and_then(|it| it.texts.first());
                StalledPart::Subscription(text.map_or_else(String::new, |text| text.sql.clone()))
            }
        };
        self.told_stall = Some(stall);
        self.incident(Incident::Stalled { of });
    }

    pub(super) fn incident(&self, incident: Incident) {
        self.log(LogLevel::Warn, || incident.to_string());
        self.incidents.send_modify(|incidents| incidents.add(incident));
    }
}
