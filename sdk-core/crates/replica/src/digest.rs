//! How the replica has the rows of a subscription, for who compares them with the server.

use protocol::digest::RowsDigest;
use protocol::ids::{Birth, SeqId};
use protocol::schema::Column;
use protocol::value::{Row, Value};
use sdk_machine::Comparison;

use crate::error::ReplicaError;
use crate::names::quoted;
use crate::outbox;
use crate::replica::Replica;
use crate::sets::Member;
use crate::stored::stored_seq;
use crate::table::Table;
use crate::values::typed;

impl Replica {
    /// The digest of rows as the server has said them: of those for which writes wait, their base.
    /// Rows are read one by one.
    ///
    /// # Errors
    /// [`ReplicaError`] when the file cannot be read.
    pub fn digest(&self, of: &Comparison) -> Result<RowsDigest, ReplicaError> {
        let known = self.known.get(&of.subscription);
        let known = known.ok_or(ReplicaError::Inconsistent("a digest of what is not known"))?;
        let table = self.tables.get(known.table.id)?;
        let columns: Vec<&Column> =
            known.columns.iter().filter_map(|id| known.table.column(*id)).collect();
        let holder = Member { subscription: of.subscription, is_ghost: false };
        let sets: Vec<String> =
            self.sets.with(|member| *member == holder).iter().map(|id| id.0.to_string()).collect();
        let sets = sets.join(", ");
        let mut digest = RowsDigest::default();
        let held = format!("_seq >= ?1 AND _seq < ?2 AND +_set IN ({sets})");
        if outbox::has_pending(&self.connection, table.schema.id)? {
            let (name, base) = (table.quoted(), table.base());
            let is_it = |key: String| format!("{base}.{key} = {name}.{key}");
            let is_it: Vec<String> = table.key().into_iter().map(is_it).collect();
            let no_base = format!(
                "{held} AND NOT EXISTS (SELECT 1 FROM {base} WHERE {})",
                is_it.join(" AND ")
            );
            self.digest_rows(&name, table, &columns, &no_base, of, &mut digest)?;
            self.digest_rows(&base, table, &columns, &held, of, &mut digest)?;
        } else {
            self.digest_rows(&table.quoted(), table, &columns, &held, of, &mut digest)?;
        }
        Ok(digest)
    }

    /// Adds the rows of a table, or of its base.
    fn digest_rows(
        &self,
        place: &str,
        table: &Table,
        columns: &[&Column],
        held: &str,
        of: &Comparison,
        digest: &mut RowsDigest,
    ) -> Result<(), ReplicaError> {
        // A column that the table has no longer is told of before anything else is.
        let name = |column: &&Column| {
            let has = table.schema.column(column.id);
            has.map_or_else(|| "NULL".to_owned(), |column| quoted(column.name.as_str()))
        };
        let names: Vec<String> = columns.iter().map(name).collect();
        let sql = format!("SELECT _seq, {} FROM {place} WHERE {held}", names.join(", "));
        let below = of.below.map_or(i64::MAX, |below| stored_seq(below.0));
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut rows = select.query([stored_seq(of.floor.0), below])?;
        while let Some(row) = rows.next()? {
            match read(row, columns)? {
                Some((birth, values)) => digest.add(birth, &values),
                None => digest.add_unreadable(),
            }
        }
        Ok(())
    }
}

/// A row as the server would send it; `None` where it is none that a server has.
fn read(
    row: &rusqlite::Row<'_>,
    columns: &[&Column],
) -> Result<Option<(Birth, Row)>, ReplicaError> {
    let birth = u64::try_from(row.get::<_, i64>(0)?).ok().and_then(|seq| SeqId::new(seq).ok());
    let mut values: Vec<Value> = Vec::with_capacity(columns.len());
    for (column, place) in columns.iter().zip(1..) {
        match typed(column.column_type, row.get_ref(place)?) {
            Ok(value) => values.push(value),
            Err(_) => return Ok(None),
        }
    }
    Ok(birth.map(|birth| (Birth(birth), Row(values))))
}
