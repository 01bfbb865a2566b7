//! Writing.

use js_sys::Array;
use sdk_core::Mutation;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::transaction::run;
use super::{Core, Outcome, told};
use crate::given::{Given, Options, Statement, mutation_id, statement, write_options};
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
        let work = statements.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        let sql = |statement: &Statement| match statement {
            Statement::Sql { sql, params } => Some((sql.clone(), params.clone())),
            _ => None,
        };
        let mutation = match work.iter().map(sql).collect::<Option<Vec<_>>>() {
            Some(all) => {
                let all: Vec<_> = all.iter().map(|(sql, params)| (&**sql, &**params)).collect();
                self.client.batch_with(&all, options).await
            }
            None => {
                let one_by_one = |transaction| async move {
                    for statement in &work {
                        run(&transaction, statement).await?;
                    }
                    Ok(())
                };
                let done = self.client.transaction_with(options, one_by_one).await;
                done.map(|((), mutation)| mutation)
            }
        };
        Ok(self.follow(&mutation.map_err(told)?))
    }

    /// What was written and is not decided.
    pub async fn pending(&self) -> Outcome<JsValue> {
        Ok(pending(&self.client.pending().await.map_err(told)?))
    }

    /// A write that waits, from before a restart, too.
    pub async fn mutation(&self, id: f64) -> Outcome<JsValue> {
        let mutation = self.client.mutation(mutation_id(id)?).await.map_err(told)?;
        Ok(mutation.map_or(JsValue::UNDEFINED, |mutation| self.follow(&mutation)))
    }

    /// Takes it back. Says whether that was possible.
    pub async fn cancel(&self, id: f64) -> Outcome<bool> {
        match self.client.mutation(mutation_id(id)?).await.map_err(told)? {
            Some(mutation) => mutation.cancel().await.map_err(told),
            None => Ok(false),
        }
    }

    /// What was rejected, or is uncertain, and not dealt with.
    pub async fn rejections(&self) -> Outcome<JsValue> {
        let all = self.client.rejections().await.map_err(told)?;
        Ok(all.iter().map(rejection).collect::<Array>().into())
    }

    /// Writes it again as it was.
    pub async fn retry(&self, id: f64) -> Outcome<JsValue> {
        let mutation = self.client.retry(mutation_id(id)?).await.map_err(told)?;
        Ok(self.follow(&mutation))
    }

    /// Forgets it. Says whether it was there.
    pub async fn discard(&self, id: f64) -> Outcome<bool> {
        self.client.discard(mutation_id(id)?).await.map_err(told)
    }
}

impl Core {
    /// What a write has done. What becomes of it is told.
    pub(super) fn follow(&self, mutation: &Mutation) -> JsValue {
        self.events.borrow().tell_mutation(mutation);
        wrote(mutation)
    }
}
