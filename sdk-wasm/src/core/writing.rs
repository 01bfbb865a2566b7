//! Writing.

use js_sys::Array;
use sdk_core::{Answer, Mutation};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Core, Outcome, failed};
use crate::given::{Given, Options, mutation_id, request, statement, whole, write_options};
use crate::told::{pending, rejection, wrote};

#[wasm_bindgen]
impl Core {
    /// Writes: all statements are done, or none; and what a request has done is not done again.
    pub async fn write(
        &self,
        statements: Vec<Given>,
        options: Option<Options>,
    ) -> Outcome<JsValue> {
        let options = write_options(options.as_ref())?;
        let statements = statements.iter().map(statement).collect::<Result<_, _>>()?;
        let mutation = self.client.write(statements, options).await.map_err(failed)?;
        Ok(self.follow(&mutation))
    }

    /// What a request has given, if it was done: `true` of one that has taken back or discarded something.
    pub async fn answer(&self, client: String, number: f64) -> Outcome<JsValue> {
        let number = whole("the number of a request", number)?;
        Ok(match self.client.answer(&client, number).await.map_err(failed)? {
            Some(Answer::Wrote(mutation)) => self.follow(&mutation),
            Some(Answer::Done) => JsValue::TRUE,
            None => JsValue::UNDEFINED,
        })
    }

    /// Forgets the requests of everybody else.
    #[wasm_bindgen(js_name = keepRequests)]
    pub async fn keep_requests(&self, clients: Vec<String>) -> Outcome<()> {
        self.client.keep_requests(&clients).await.map_err(failed)
    }

    /// What was written and is not decided.
    pub async fn pending(&self) -> Outcome<JsValue> {
        Ok(pending(&self.client.pending().await.map_err(failed)?))
    }

    /// A write that waits, from before a restart, too; and one that had a request and was decided.
    pub async fn mutation(&self, id: f64) -> Outcome<JsValue> {
        let mutation = self.client.mutation(mutation_id(id)?).await.map_err(failed)?;
        Ok(mutation.map_or(JsValue::UNDEFINED, |mutation| self.follow(&mutation)))
    }

    /// Takes it back. Says whether that was possible.
    pub async fn cancel(&self, id: f64, options: Option<Options>) -> Outcome<bool> {
        let (id, request) = (mutation_id(id)?, request(options.as_ref())?);
        self.client.cancel_with(id, request).await.map_err(failed)
    }

    /// What was rejected, or is uncertain, and not dealt with.
    pub async fn rejections(&self) -> Outcome<JsValue> {
        let all = self.client.rejections().await.map_err(failed)?;
        Ok(all.iter().map(rejection).collect::<Array>().into())
    }

    /// Writes it again as it was.
    pub async fn retry(&self, id: f64, options: Option<Options>) -> Outcome<JsValue> {
        let (id, request) = (mutation_id(id)?, request(options.as_ref())?);
        let mutation = self.client.retry_with(id, request).await.map_err(failed)?;
        Ok(self.follow(&mutation))
    }

    /// Forgets it. Says whether it was there.
    pub async fn discard(&self, id: f64, options: Option<Options>) -> Outcome<bool> {
        let (id, request) = (mutation_id(id)?, request(options.as_ref())?);
        self.client.discard_with(id, request).await.map_err(failed)
    }
}

impl Core {
    /// What a write has done. What becomes of it is told.
    pub(super) fn follow(&self, mutation: &Mutation) -> JsValue {
        self.events.borrow().tell_mutation(mutation);
        wrote(mutation)
    }
}
