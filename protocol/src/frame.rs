//! The messages of a connection, `GET /v1/sync` over WebSocket. Each is one binary frame.
//!
//! ```text
//! client                                              server
//!   │ hello {versions, token, lanes, subscriptions}     │
//!   ├──────────────────────────────────────────────────►│
//!   │                                welcome {version}  │
//!   │◄──────────────────────────────────────────────────┤
//!   │                  schema, where it is another one  │  which tables there are
//!   │◄──────────────────────────────────────────────────┤
//!   │                  subscribed, for each of them     │
//!   │◄──────────────────────────────────────────────────┤
//!   │                  catch_up … frontier, a lane      │  what was missed, shown in one step
//!   │◄──────────────────────────────────────────────────┤
//!   │ subscribe {request, sql, params, fetch_last}      │
//!   ├──────────────────────────────────────────────────►│
//!   │                            subscribed {query}     │
//!   │◄──────────────────────────────────────────────────┤
//!   │                  frontier, where the lane is new  │
//!   │◄──────────────────────────────────────────────────┤
//!   │                  initial_data_batch {floor} …     │  last born first, until it is loaded
//!   │◄──────────────────────────────────────────────────┤
//!   │                        delta {previous, seq} …    │  each commit that concerns it
//!   │◄──────────────────────────────────────────────────┤
//!   │ load_older {request, rows}                        │
//!   ├──────────────────────────────────────────────────►│
//!   │                            initial_data_batch …   │
//!   │◄──────────────────────────────────────────────────┤
//!   │ digest {request}                                  │
//!   ├──────────────────────────────────────────────────►│
//!   │                              digest {rows, sum}   │  as of the frontier that it brings
//!   │◄──────────────────────────────────────────────────┤
//!   │ sync {request}                                    │
//!   ├──────────────────────────────────────────────────►│
//!   │                              synced {positions}   │  what to wait for
//!   │◄──────────────────────────────────────────────────┤
//! ```
//!
//! `docs/PROTOCOL.md` says what each end may rely on. A released version is never edited: the next
//! one is a module beside it. Within a version, fields may be added; who does not know one passes
//! over it.

pub mod v1;

/// The versions that this crate speaks, the newest first.
pub const VERSIONS: &[u16] = &[1];

/// The newest version that both ends speak, if there is one.
pub fn negotiate(offered: &[u16]) -> Option<u16> {
    VERSIONS.iter().copied().find(|version| offered.contains(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_taken() {
        assert_eq!(negotiate(&[1]), Some(1));
        assert_eq!(negotiate(&[9, 1]), Some(1));
        assert_eq!(negotiate(&[9]), None);
        assert_eq!(negotiate(&[]), None);
    }
}
