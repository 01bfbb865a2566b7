//! What went wrong and was mended.

use std::collections::VecDeque;
use std::fmt;

use sdk_replica::Rescued;

use crate::verify::Mismatch;

/// Something that should not happen, and what was done about it. Nothing has to be done but to know of
/// it: [`Client::incidents`](crate::Client::incidents).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// The file of the replica was damaged. It is set aside, and another one took its place.
    Rebuilt(Rescued),
    /// The server was there, and something that it owed did not come for too long. The connection is made
    /// anew.
    Stalled {
        /// What did not come: the SQL of a subscription, or the lane in which something was written.
        of: StalledPart,
    },
    /// Rows were not as the server had them. They are loaded anew.
    Mismatched(Mismatch),
    /// What the application has made on replicated tables was in the way of what the server says, or has
    /// gone with a table that the server has made anew. It is dropped: make it again, without what
    /// was in the way.
    Dropped {
        /// The names of indexes, triggers and views.
        names: Vec<String>,
    },
}

/// What does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StalledPart {
    /// The rows of a subscription: its SQL.
    Subscription(String),
    /// What became of what was written: the lane.
    Outbox(String),
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { of: StalledPart::Subscription(sql) } => {
                write!(f, "the rows of `{sql}` did not come: the connection is made anew")
            }
            Self::Stalled { of: StalledPart::Outbox(lane) } => write!(
                f,
                "nothing was said of what was written in {lane}: the connection is made anew"
            ),
            Self::Mismatched(Mismatch { table, from, below, .. }) => {
                write!(f, "rows of {table} born from {from} ")?;
                if let Some(below) = below {
                    write!(f, "to {below} ")?;
                }
                f.write_str("on were not as the server has them: they are loaded anew")
            }
            Self::Dropped { names } => write!(
                f,
                "{} was in the way of what the server says of its tables, or has gone with one that the \
                 server has made anew: it is dropped; make it again, without what was in the way",
                names.join(", ")
            ),
            Self::Rebuilt(rescued) => {
                let Rescued { waiting, uncertain, rejections, lost, .. } = rescued;
                write!(
                    f,
                    "the replica was damaged and is loaded again: {waiting} writes wait as before, \
                     {uncertain} are uncertain, {rejections} rejections are kept, {lost} could not \
                     be read"
                )?;
                match rescued.may_miss_some {
                    true => f.write_str(", and there may have been more"),
                    false => Ok(()),
                }
            }
        }
    }
}

/// How many are kept.
const KEPT: usize = 16;

/// The last ones, each with a number that grows from 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    last: u64,
    kept: VecDeque<(u64, Incident)>,
}

impl Incidents {
    pub(crate) fn add(&mut self, incident: Incident) {
        self.last += 1;
        self.kept.push_back((self.last, incident));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    /// How many there were, and what the last ones were about.
    pub(crate) fn kinds(&self) -> (u64, Vec<&'static str>) {
        let kind = |(_, incident): &(u64, Incident)| match incident {
            Incident::Rebuilt(_) => "rebuilt",
            Incident::Stalled { .. } => "stalled",
            Incident::Mismatched(_) => "mismatched",
            Incident::Dropped { .. } => "dropped",
        };
        (self.last, self.kept.iter().map(kind).collect())
    }

    /// The first behind this number.
    pub(crate) fn after(&self, seen: u64) -> Option<(u64, Incident)> {
        self.kept.iter().find(|(number, _)| *number > seen).cloned()
    }
}
