//! SQL functions that look into columnar tables. They are for a table's owner: bounds and errors tell of its contents.

use super::check::{self, Finding};
use super::{distinct, for_each_stripe, open_owned, salvage};
use crate::columnar::encoding::ColumnDirectory;
use crate::columnar::reader::column_name;
use crate::columnar::store::Store;
use crate::columnar::stripe;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::regclass::RegClass;
use pgrx::prelude::*;

/// How many bytes one byte stands for; none where nothing is stored.
fn ratio(plain: u64, stored: u64) -> Option<f64> {
    (stored > 0).then(|| plain as f64 / stored as f64)
}

/// The stripes of a columnar table. Bytes are those of the stripe without the tuples that carry it; `plain_bytes` are those of its values in memory.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn columnar_stripes(
    table_name: RegClass,
) -> TableIterator<
    'static,
    (
        name!(stripe, i64),
        name!(first_row, i64),
        name!(last_row, i64),
        name!(rows, i64),
        name!(deleted, i64),
        name!(vectors, i32),
        name!(sorted, bool),
        name!(bytes, i64),
        name!(plain_bytes, i64),
        name!(ratio, Option<f64>),
    ),
> {
    let mut rows = Vec::new();
    for_each_stripe(table_name.0, |store, described| {
        let meta = described.meta;
        let open = stripe::open_described(store, described).or_raise();
        rows.push((
            i64::from(meta.stripe_id),
            meta.first_row as i64,
            meta.last_row as i64,
            i64::from(meta.row_count),
            i64::from(meta.deleted_count),
            open.footer().vector_count() as i32,
            !open.footer().is_increasing(),
            meta.blob.len as i64,
            meta.plain_bytes as i64,
            ratio(meta.plain_bytes, meta.blob.len),
        ));
    });
    TableIterator::new(rows)
}

/// The columns of each stripe of a columnar table. `distinct_values` is an estimate. `encodings` and `compressions` say how many vectors have which.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn columnar_stats(
    table_name: RegClass,
) -> TableIterator<
    'static,
    (
        name!(stripe, i64),
        name!(column_number, i32),
        name!(column_name, String),
        name!(rows, i64),
        name!(nulls, i64),
        name!(distinct_values, Option<i64>),
        name!(bytes, i64),
        name!(plain_bytes, i64),
        name!(ratio, Option<f64>),
        name!(encodings, String),
        name!(compressions, String),
    ),
> {
    let mut rows = Vec::new();
    for_each_stripe(table_name.0, |store, described| {
        let open = stripe::open_described(store, described).or_raise();
        for (column, entry) in open.footer().columns().iter().enumerate() {
            let directory = open.directory(store, column).or_raise();
            rows.push((
                i64::from(described.meta.stripe_id),
                column as i32 + 1,
                column_name(store, column),
                i64::from(described.meta.row_count),
                i64::from(entry.null_count),
                distinct::count(store, &open, column).or_raise(),
                entry.data_len as i64,
                entry.plain_len as i64,
                ratio(entry.plain_len, entry.data_len),
                tally(&directory, |entry| entry.encoding.name()),
                tally(&directory, |entry| entry.compression.name()),
            ));
        }
    });
    TableIterator::new(rows)
}

/// How many vectors have which property, most first: `integers 140, dictionary 7`. Vectors without bytes are left out.
fn tally(
    directory: &ColumnDirectory,
    name: impl Fn(&crate::columnar::encoding::VectorEntry) -> &'static str,
) -> String {
    let mut counts: Vec<(usize, &'static str)> = Vec::new();
    for entry in directory.entries().iter().filter(|entry| entry.stored_len > 0) {
        let name = name(entry);
        match counts.iter_mut().find(|(_, known)| *known == name) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, name)),
        }
    }
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.iter().map(|(count, name)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Reads all stripes of a columnar table and returns what is wrong with them; nothing if they are sound.
#[pg_extern(volatile, parallel_restricted)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn columnar_check(
    table_name: RegClass,
) -> TableIterator<
    'static,
    (name!(stripe, i64), name!(column_name, Option<String>), name!(vector, Option<i32>), name!(problem, String)),
> {
    let mut findings = Vec::new();
    for_each_stripe(table_name.0, |store, described| check::check(store, described, &mut findings));
    let row = |finding: Finding| {
        (i64::from(finding.stripe), finding.column, finding.vector.map(|vector| vector as i32), finding.problem)
    };
    TableIterator::new(findings.into_iter().map(row).collect::<Vec<_>>())
}

/// Returns the rows of a columnar table as far as they can be read. The argument is NULL of the table's row type. Values that cannot be read
/// are NULL; what is lost is said in warnings. The indexes are not asked, and constraints do not hold for what it returns.
#[pg_extern(sql = "
CREATE FUNCTION orochi.columnar_salvage(row_type anyelement) RETURNS SETOF anyelement
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'columnar_salvage_wrapper';
COMMENT ON FUNCTION orochi.columnar_salvage(anyelement) IS
    'rows of a columnar table as far as they can be read: SELECT * FROM orochi.columnar_salvage(NULL::my_table)';
")]
fn columnar_salvage(fcinfo: pg_sys::FunctionCallInfo) -> pgrx::datum::Internal {
    // SAFETY: core's argument; `InitMaterializedSRF` checks that the caller takes a set and makes its tuplestore.
    unsafe {
        let row_type = pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, 0);
        let table_name = pg_sys::typeidTypeRelid(row_type);
        if table_name == pg_sys::InvalidOid {
            OrochiError::WrongObject { what: "the argument is not of the row type of a columnar table".into() }.raise();
        }
        let table = open_owned(table_name);
        pg_sys::InitMaterializedSRF(fcinfo, 0);
        let result = (*(*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>()).setResult;
        if let Some(store) = Store::open(table.rel()) {
            salvage::salvage(&store, |slot| pg_sys::tuplestore_puttupleslot(result, slot)).or_raise();
        }
    }
    pgrx::datum::Internal::from(Some(pg_sys::Datum::from(0usize)))
}

extension_sql!(
    r#"
COMMENT ON FUNCTION orochi.columnar_stripes(regclass) IS 'stripes of a columnar table: rows, deleted rows, bytes';
COMMENT ON FUNCTION orochi.columnar_stats(regclass) IS 'columns of the stripes of a columnar table: NULLs, distinct values, bytes, encodings';
COMMENT ON FUNCTION orochi.columnar_check(regclass) IS 'reads all stripes of a columnar table and returns what is wrong with them';
"#,
    name = "columnar_inspect_comments",
    requires = [columnar_stripes, columnar_stats, columnar_check]
);
