//! What is done for each frame of a client.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::frame::v1::{ClientFrame, Goodbye, Received, Refused, ServerFrame, Token};

use super::frames::{End, read, said};
use super::session::Session;
use super::statements;
use crate::auth::Verified;

impl Session {
    /// Does what a frame asks for.
    pub(super) async fn handle(&mut self, bytes: &[u8]) -> Result<(), End> {
        match read(bytes)? {
            Received::Known(ClientFrame::Hello(_)) => {
                let told = "a connection has one hello: connect again to begin anew";
                Err(said(ErrorCode::InvalidRequest, told).into())
            }
            Received::Known(ClientFrame::Token(token)) => Ok(self.renew(&token)?),
            Received::Known(ClientFrame::Subscribe(subscribe)) => {
                self.live.subscribe(subscribe).await;
                Ok(())
            }
            Received::Known(ClientFrame::Unsubscribe(unsubscribe)) => {
                self.live.unsubscribe(unsubscribe).await;
                Ok(())
            }
            Received::Known(ClientFrame::LoadOlder(load_older)) => {
                self.live.load_older(load_older).await;
                Ok(())
            }
            Received::Known(ClientFrame::Digest(digest)) => {
                self.live.digest(digest).await;
                Ok(())
            }
            Received::Known(ClientFrame::Sync(sync)) => {
                self.live.sync(sync).await;
                Ok(())
            }
            Received::Known(ClientFrame::Sql(sql)) => {
                let (caller, queue) = (self.caller.clone(), self.queue.clone());
                statements::start(Arc::clone(&self.gateway), caller, queue, &self.running, sql);
                Ok(())
            }
            Received::Known(ClientFrame::OpenLane(open)) => {
                self.live.open_lane(open).await;
                Ok(())
            }
            Received::Known(ClientFrame::Mutate(mutate)) => {
                self.live.mutate(*mutate, bytes.len()).await;
                Ok(())
            }
            Received::Unknown { name } => {
                let message =
                    format!("this server does not know {name:?}: send what docs/PROTOCOL.md has");
                let refused = Refused { request: None, code: ErrorCode::Unsupported, message };
                self.queue.push(ServerFrame::Refused(refused).encode().into());
                Ok(())
            }
        }
    }

    /// Takes a new token of the same user in place of the old one.
    pub(super) fn renew(&mut self, token: &Token) -> Result<(), Goodbye> {
        let now = self.gateway.ports.clock.now_seconds();
        let verified = self.gateway.ports.key.verify(&token.0, now);
        let Verified { caller, expires_at } = verified.map_err(|refusal| refusal.goodbye())?;
        if caller != self.caller {
            let told = "the token is of another user or role than the connection: connect with it";
            return Err(said(ErrorCode::NeedsAuth, told));
        }
        self.expires_at = expires_at;
        Ok(())
    }
}
