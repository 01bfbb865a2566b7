//! Writing.

use js_sys::Array;
use sdk_core::Mutation;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Core, Outcome, failed};
use crate::given::{Given, Options, mutation_id, statement, write_options};
use crate::told::{pending, rejection, wrote};

#[wasm_bindgen]
impl Core {
    /// Writes: all statements are done, or none.
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

    /// What was written and is not decided.
    pub async fn pending(&self) -> Outcome<JsValue> {
        Ok(pending(&self.client.pending().await.map_err(failed)?))
    }

    /// A write that waits, from before a restart, too.
    pub async fn mutation(&self, id: f64) -> Outcome<JsValue> {
        let mutation = self.client.mutation(mutation_id(id)?).await.map_err(failed)?;
        Ok(mutation.map_or(JsValue::UNDEFINED, |mutation| self.follow(&mutation)))
    }

    /// Takes it back. Says whether that was possible.
    pub async fn cancel(&self, id: f64) -> Outcome<bool> {
        match self.client.mutation(mutation_id(id)?).await.map_err(failed)? {
            Some(mutation) => mutation.cancel().await.map_err(failed),
            None => Ok(false),
        }
    }

    /// What was rejected, or is uncertain, and not dealt with.
    pub async fn rejections(&self) -> Outcome<JsValue> {
        let all = self.client.rejections().await.map_err(failed)?;
        Ok(all.iter().map(rejection).collect::<Array>().into())
    }

    /// Writes it again as it was.
    pub async fn retry(&self, id: f64) -> Outcome<JsValue> {
        let mutation = self.client.retry(mutation_id(id)?).await.map_err(failed)?;
        Ok(self.follow(&mutation))
    }

    /// Forgets it. Says whether it was there.
    pub async fn discard(&self, id: f64) -> Outcome<bool> {
        self.client.discard(mutation_id(id)?).await.map_err(failed)
    }
}

impl Core {
    /// What a write has done. What becomes of it is told.
    pub(super) fn follow(&self, mutation: &Mutation) -> JsValue {
        self.events.borrow().tell_mutation(mutation);
        wrote(mutation)
    }
}
